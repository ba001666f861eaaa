//! Acquires system resources before the server starts: the state directory, its lock, the listeners.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::start_error::StartError;
use crate::clock::{SystemClock, UnixSeconds};
use crate::config::{Config, ListenAddress, ListenerSpec, SOCKET_NAME};
use crate::limits;
use crate::model::AnonymousAccess;
use crate::reactor::mio_net::Listener;
use crate::sys::owner;

/// A listening socket inherited from the parent process, such as from systemd's socket activation.
#[derive(Debug)]
pub struct InheritedListener {
    /// The listening socket.
    pub socket: OwnedFd,
    /// Its name, for messages.
    pub name: String,
}

/// A listener to bind, or to take over from an inherited socket.
pub(super) struct PlannedListener {
    pub(super) spec: ListenerSpec,
    pub(super) inherited: Option<InheritedListener>,
}

/// All bound listeners.
pub(super) struct BoundListeners {
    pub(super) listeners: Vec<Listener>,
    /// With actual ports.
    pub(super) addresses: Vec<ListenAddress>,
    pub(super) sockets: Vec<SocketFile>,
}

/// The locked state directory.
pub(super) struct StateDir {
    path: PathBuf,
    /// Its modification time records when this server last ran.
    lock: File,
    /// Knows when a server last ran on this directory.
    pub(super) clock: SystemClock,
}

/// The file of a unix socket; removed on drop.
pub(super) struct SocketFile(PathBuf);

impl StateDir {
    /// Creates the directory if needed, and locks it against a second server.
    pub(super) fn open(path: &Path) -> Result<StateDir, StartError> {
        let failed = |error: io::Error| {
            StartError::of_system(format!(
                "the state directory {} can't be used: {error}; choose another with --state-dir",
                path.display()
            ))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let (lock, seen) = open_lock(path).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StartError::of_system(format!(
                "another vmherd runs on the state directory {}: stop it, or choose another directory with \
                 --state-dir",
                path.display()
            )),
            TryLockError::Error(error) => failed(error),
        })?;
        let state_dir = StateDir { path: path.into(), lock, clock: SystemClock::resuming_after(seen) };
        state_dir.record_time();
        Ok(state_dir)
    }

    /// Records the trusted time in the lock file.
    fn record_time(&self) {
        let mut clock = self.clock;
        let seconds = Duration::from_secs(clock.trusted_unix_now().0.unsigned_abs());
        if let Err(error) = self.lock.set_modified(UNIX_EPOCH + seconds) {
            log::debug!("can't set the modification time of the lock file: {error}");
        }
    }

    /// The socket that every server has, for its own user and root only.
    pub(super) fn own_listener(&self) -> ListenerSpec {
        ListenerSpec {
            address: ListenAddress::Unix(self.socket_path()),
            anonymous_access: AnonymousAccess::ALL,
            first_generation: false,
        }
    }

    fn socket_path(&self) -> PathBuf {
        self.path.join(SOCKET_NAME)
    }
}

/// Opens or creates the lock file; one created by root belongs to the directory's owner. Also returns when a server
/// last ran there, if any did.
fn open_lock(directory: &Path) -> io::Result<(File, Option<UnixSeconds>)> {
    let path = directory.join("vmherd.lock");
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    match options.clone().create_new(true).open(&path) {
        Ok(file) => {
            owner::copy_owner(&file, &fs::metadata(directory)?)?;
            Ok((file, None))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = options.open(&path)?;
            let seen = UnixSeconds(file.metadata()?.mtime());
            Ok((file, Some(seen)))
        }
        Err(error) => Err(error),
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        self.record_time();
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            log::debug!("can't remove {}: {error}", self.0.display());
        }
    }
}

/// The listeners in the order of the configuration. Each inherited socket replaces the configured listener with its
/// address; if no listener is configured, they replace the default.
pub(super) fn merge_inherited(
    config: &Config,
    inherited: Vec<InheritedListener>,
) -> Result<Vec<PlannedListener>, StartError> {
    let has_inherited = !inherited.is_empty();
    let configured = if has_inherited && !config.is_listen_explicit { &[] } else { &config.listen[..] };
    let planned = configured.iter().map(|spec| PlannedListener { spec: spec.clone(), inherited: None });
    let mut planned: Vec<PlannedListener> = planned.collect();
    for inherited in inherited {
        let name = &inherited.name;
        let refused = |why: String| {
            StartError::of_configuration(format!("the socket {name:?} that was passed in {why}"))
        };
        let address = listening_address(&inherited.socket).map_err(refused)?;
        let is_free = |listener: &&mut PlannedListener| {
            let is_same = match (listener.spec.address.socket(), address.socket()) {
                (Some(configured), Some(found)) => configured == found,
                _ => listener.spec.address == address,
            };
            is_same && listener.inherited.is_none()
        };
        if let Some(listener) = planned.iter_mut().find(is_free) {
            listener.inherited = Some(inherited);
            continue;
        }
        if let ListenAddress::Unix(path) = &address
            && is_own_socket(path, &config.state_dir)
        {
            return Err(refused(format!(
                "listens on {address}, which is the daemon's own socket and always there; take it out of the \
                 socket unit"
            )));
        }
        let is_local = address.is_local();
        if !is_local && !config.is_plaintext_allowed {
            return Err(refused(format!(
                "listens on {address}, which other hosts can reach, and passwords would cross the network in clear \
                 text; have it listen on 127.0.0.1 behind a tunnel or proxy, and open nothing to its clients: \
                 --listen ADDRESS?open=none and --registration closed (see docs/security.md), or if no one can \
                 eavesdrop there, allow it: --allow-plaintext (or VMHERD_ALLOW_PLAINTEXT=yes)"
            )));
        }
        let anonymous_access = if is_local { AnonymousAccess::ALL } else { AnonymousAccess::NONE };
        planned.push(PlannedListener {
            spec: ListenerSpec { address, anonymous_access, first_generation: false },
            inherited: Some(inherited),
        });
    }
    for listener in planned.iter().filter(|listener| has_inherited && listener.inherited.is_none()) {
        log::warn!(
            "{} is bound in addition to the inherited sockets, because --listen (or VMHERD_LISTEN) names it; remove \
             it there to use only those",
            listener.spec.address
        );
    }
    Ok(planned)
}

/// Whether `path` is the socket in the state directory, after resolving links.
fn is_own_socket(path: &Path, state_dir: &Path) -> bool {
    let Some(directory) = path.parent().filter(|_| path.file_name() == Some(SOCKET_NAME.as_ref())) else {
        return false;
    };
    directory == state_dir || fs::canonicalize(directory).ok() == fs::canonicalize(state_dir).ok()
}

/// The address that `socket` listens on, or what is wrong with it.
fn listening_address(socket: &OwnedFd) -> Result<ListenAddress, String> {
    let socket = SockRef::from(socket);
    if !matches!(socket.r#type(), Ok(Type::STREAM)) || !socket.is_listener().unwrap_or(false) {
        return Err("is not a listening stream socket (ListenStream=, Accept=no)".into());
    }
    let address = socket.local_addr().map_err(|error| format!("has no address: {error}"))?;
    match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => Ok(ListenAddress::Tcp(address)),
        (None, Some(path)) => Ok(ListenAddress::Unix(path.into())),
        (None, None) => Err("is neither TCP nor a unix socket with a path".into()),
    }
}

/// Binds all of `planned` that have no inherited socket.
pub(super) fn bind_listeners(
    planned: Vec<PlannedListener>,
    state_dir: &StateDir,
) -> Result<BoundListeners, StartError> {
    let mut bound = BoundListeners { listeners: Vec::new(), addresses: Vec::new(), sockets: Vec::new() };
    let passed_in = planned.iter().filter_map(|listener| {
        Some((listener.inherited.as_ref()?.name.clone(), listener.spec.address.clone()))
    });
    let passed_in: Vec<(String, ListenAddress)> = passed_in.collect();
    for PlannedListener { spec: ListenerSpec { address, .. }, inherited } in planned {
        let (listener, address) = match (inherited, address) {
            (Some(inherited), address) => (take_over(inherited.socket, &address)?, address),
            (None, ListenAddress::Tcp(address)) => {
                let (listener, address) = bind_tcp(address, &passed_in)?;
                (listener.into(), ListenAddress::Tcp(address))
            }
            (None, ListenAddress::Sealed(address)) => {
                let (listener, address) = bind_tcp(address, &passed_in)?;
                (listener.into(), ListenAddress::Sealed(address))
            }
            (None, ListenAddress::Unix(path)) => {
                let failed = |error: io::Error| StartError {
                    why: format!("can't listen on unix:{}: {error}", path.display()),
                    // A file that is no socket stays until a person removes it.
                    is_configuration: error.kind() == io::ErrorKind::AlreadyExists,
                };
                let is_own = path == state_dir.socket_path();
                let listener =
                    if is_own { bind_own_socket(&path) } else { bind_unix(&path) }.map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                bound.sockets.push(SocketFile(path.clone()));
                (listener.into(), ListenAddress::Unix(path))
            }
        };
        bound.listeners.push(listener);
        bound.addresses.push(address);
    }
    Ok(bound)
}

/// Takes over an inherited socket. Its file belongs to the parent process, so it is not removed.
fn take_over(socket: OwnedFd, address: &ListenAddress) -> Result<Listener, StartError> {
    let failed = |error| StartError::of_system(format!("can't listen on {address}, passed in: {error}"));
    SockRef::from(&socket).set_nonblocking(true).map_err(failed)?;
    Ok(match address {
        ListenAddress::Tcp(_) | ListenAddress::Sealed(_) => TcpListener::from(socket).into(),
        ListenAddress::Unix(_) => UnixListener::from(socket).into(),
    })
}

/// The error for a failed bind to `address`; names the inherited socket that holds the port, if one does.
fn tcp_bind_error(address: SocketAddr, error: &io::Error, holders: &[(String, ListenAddress)]) -> StartError {
    let holder = holders.iter().find(|(_, held)| blocks_port(held, address));
    match holder.filter(|_| error.kind() == io::ErrorKind::AddrInUse) {
        Some((name, held)) => StartError::of_configuration(format!(
            "can't listen on tcp://{address}: the socket {name:?} that was passed in holds that port, on \
             {held}; change it in the socket unit (systemctl edit vmherd.socket: an empty ListenStream= \
             first, then ListenStream={address}) and leave it out of --listen (or VMHERD_LISTEN)"
        )),
        None => StartError::of_system(format!("can't listen on tcp://{address}: {error}")),
    }
}

/// Whether a socket on `held` prevents another on `address`. An inherited `[::]` socket may accept IPv4 as well.
fn blocks_port(held: &ListenAddress, address: SocketAddr) -> bool {
    let is_for_both = *held == ListenAddress::Tcp((Ipv6Addr::UNSPECIFIED, address.port()).into());
    is_for_both || held.conflicts_with(&ListenAddress::Tcp(address))
}

/// Binds to `address`; `passed_in` are the inherited sockets.
fn bind_tcp(
    address: SocketAddr,
    passed_in: &[(String, ListenAddress)],
) -> Result<(TcpListener, SocketAddr), StartError> {
    try_bind_tcp(address).map_err(|error| tcp_bind_error(address, &error, passed_in))
}

fn try_bind_tcp(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a server that just stopped (TIME_WAIT) must not prevent a restart.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are separate listeners, so one must not take the other's port.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Binds a configured unix socket; replaces a stale socket of a dead server.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Ok(metadata) = fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            let why = "the path exists and is not a socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(error) => return Err(error),
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    listen_unix(path)
}

/// Binds the socket in the state directory. It is renamed into place after its mode is set, so that no other user
/// can ever connect. The lock guarantees that an existing socket there is stale.
fn bind_own_socket(path: &Path) -> io::Result<UnixListener> {
    // As long as the final name, which is known to fit.
    let nameless = path.with_extension("new");
    let _ = fs::remove_file(&nameless);
    let listener = listen_unix(&nameless)?;
    fs::set_permissions(&nameless, fs::Permissions::from_mode(0o600))?;
    fs::rename(&nameless, path)?;
    Ok(listener)
}

fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    Ok(UnixListener::from(OwnedFd::from(socket)))
}
