//! What a server takes of the system before it serves: the state directory, its lock, the listeners.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use socket2::{Domain, Protocol, Socket, Type};

use super::{InheritedListener, StartError};
use crate::clock::{SystemClock, UnixSeconds};
use crate::config::{Config, ListenAddress, ListenerSpec, SOCKET_NAME};
use crate::limits;
use crate::model::AnonymousAccess;
use crate::reactor::mio_net::Listener;
use crate::sys::owner;

/// Where to listen, and with what if that is there already.
pub(super) struct PlannedListener {
    pub(super) spec: ListenerSpec,
    inherited: Option<InheritedSocket>,
}

/// A socket that was there already.
struct InheritedSocket {
    socket: Socket,
    name: String,
}

/// Everything that clients connect to.
pub(super) struct BoundListeners {
    pub(super) listeners: Vec<Listener>,
    /// With real ports.
    pub(super) addresses: Vec<ListenAddress>,
    pub(super) sockets: Vec<SocketFile>,
}

/// The state directory, ours alone while this lives.
pub(super) struct StateDir {
    path: PathBuf,
    /// When it was changed last tells the next server when this one ran last.
    lock: File,
    clock: SystemClock,
}

/// A unix socket's file, removed with this.
pub(super) struct SocketFile(PathBuf);

impl StateDir {
    /// Makes the directory if there is none, and locks it against a second server.
    pub(super) fn open(path: &Path) -> Result<StateDir, StartError> {
        let failed = |error: io::Error| {
            StartError::of_system(format!(
                "the state directory {} can't be used: {error}; choose another with --state-dir",
                path.display()
            ))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let (lock, seen) = open_lock(path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {
                let state_dir =
                    StateDir { path: path.into(), lock, clock: SystemClock::resuming_after(seen) };
                state_dir.record_time();
                Ok(state_dir)
            }
            Err(TryLockError::WouldBlock) => Err(StartError::of_system(format!(
                "another vmherd runs on the state directory {}: stop it, or choose another directory with \
                 --state-dir",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The clock of a server that has last run on it when it has.
    pub(super) fn clock(&self) -> SystemClock {
        self.clock
    }

    /// Notes what time it is, without what the clock is ahead of it.
    fn record_time(&self) {
        let mut clock = self.clock;
        let seconds = Duration::from_secs(clock.trusted_unix_now().0.unsigned_abs());
        if let Err(error) = self.lock.set_modified(UNIX_EPOCH + seconds) {
            log::debug!("the time of the lock's file can't be set: {error}");
        }
    }

    /// The listener that every server has: for its own user and root.
    pub(super) fn own_listener(&self) -> ListenerSpec {
        ListenerSpec {
            address: ListenAddress::Unix(self.socket_path()),
            anonymous_access: AnonymousAccess::ALL,
        }
    }

    fn socket_path(&self) -> PathBuf {
        self.path.join(SOCKET_NAME)
    }
}

/// Opens the lock's file, made first where there is none: by root for the user whose directory it is.
/// With it comes when a server last ran there, if any did.
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
            log::debug!("{} is left behind: {error}", self.0.display());
        }
    }
}

impl From<ListenerSpec> for PlannedListener {
    fn from(listen: ListenerSpec) -> PlannedListener {
        PlannedListener { spec: listen, inherited: None }
    }
}

impl PlannedListener {
    /// The name and address of a TCP socket that was passed in.
    fn inherited_tcp(&self) -> Option<(String, SocketAddr)> {
        match (&self.inherited, &self.spec.address) {
            (Some(InheritedSocket { name, .. }), ListenAddress::Tcp(address)) => {
                Some((name.clone(), *address))
            }
            _ => None,
        }
    }
}

/// Where to listen, in the order of the configuration; `inherited` take the places of their addresses, or
/// of the default where nothing else was said.
pub(super) fn merge_inherited(
    config: &Config,
    inherited: Vec<InheritedListener>,
) -> Result<Vec<PlannedListener>, StartError> {
    let is_default_replaced = !config.is_listen_explicit && !inherited.is_empty();
    let configured = if is_default_replaced { &[] } else { &config.listen[..] };
    let mut places: Vec<PlannedListener> = configured.iter().cloned().map(PlannedListener::from).collect();
    let has_inherited = !inherited.is_empty();
    for InheritedListener { socket, name } in inherited {
        let socket = Socket::from(socket);
        let address = listening_address(&socket).map_err(|why| {
            StartError::of_configuration(format!("the socket {name:?} that was passed in {why}"))
        })?;
        let is_free =
            |place: &&mut PlannedListener| place.spec.address == address && place.inherited.is_none();
        if let Some(place) = places.iter_mut().find(is_free) {
            place.inherited = Some(InheritedSocket { socket, name });
            continue;
        }
        if let ListenAddress::Unix(path) = &address
            && is_own_socket(path, &config.state_dir)
        {
            return Err(StartError::of_configuration(format!(
                "the socket {name:?} that was passed in listens on {address}, which is the daemon's own \
                 socket and always there; take it out of the socket unit"
            )));
        }
        let is_local = address.is_local();
        if !is_local && !config.is_plaintext_allowed {
            return Err(StartError::of_configuration(format!(
                "the socket {name:?} that was passed in listens on {address}, which other hosts can reach, \
                 and passwords would cross the network in clear text; have it listen on 127.0.0.1 behind a tunnel or \
                 proxy (see docs/security.md), or if nobody can listen in there, say so: --allow-plaintext (or \
                 VMHERD_ALLOW_PLAINTEXT=yes)"
            )));
        }
        let anonymous_access = if is_local { AnonymousAccess::ALL } else { AnonymousAccess::NONE };
        places.push(PlannedListener {
            spec: ListenerSpec { address, anonymous_access },
            inherited: Some(InheritedSocket { socket, name }),
        });
    }
    for place in places.iter().filter(|place| has_inherited && place.inherited.is_none()) {
        log::warn!(
            "{} is opened beside the sockets that were passed in, since --listen (or VMHERD_LISTEN) names it; leave \
             it out if those are meant to be all",
            place.spec.address
        );
    }
    Ok(places)
}

/// Whether `path` is the socket of the state directory, however it is written.
fn is_own_socket(path: &Path, state_dir: &Path) -> bool {
    let Some(directory) = path.parent().filter(|_| path.file_name() == Some(SOCKET_NAME.as_ref())) else {
        return false;
    };
    let is_same = |one: io::Result<PathBuf>| one.ok() == fs::canonicalize(state_dir).ok();
    directory == state_dir || is_same(fs::canonicalize(directory))
}

/// Where `socket` listens; an error says what is wrong with it.
fn listening_address(socket: &Socket) -> Result<ListenAddress, String> {
    let is_usable = matches!(socket.r#type(), Ok(Type::STREAM)) && socket.is_listener().unwrap_or(false);
    if !is_usable {
        return Err("is no listening stream socket (ListenStream=, Accept=no)".into());
    }
    let address = socket.local_addr().map_err(|error| format!("has no address: {error}"))?;
    match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => Ok(ListenAddress::Tcp(address)),
        (None, Some(path)) => Ok(ListenAddress::Unix(path.into())),
        (None, None) => Err("is neither TCP nor a unix socket with a path".into()),
    }
}

/// Binds all of `places` that are not bound already.
pub(super) fn bind_listeners(
    places: Vec<PlannedListener>,
    state_dir: &StateDir,
) -> Result<BoundListeners, StartError> {
    let mut bound = BoundListeners { listeners: Vec::new(), addresses: Vec::new(), sockets: Vec::new() };
    let passed_in: Vec<(String, SocketAddr)> =
        places.iter().filter_map(PlannedListener::inherited_tcp).collect();
    for PlannedListener { spec: ListenerSpec { address, .. }, inherited } in places {
        if let Some(InheritedSocket { socket, .. }) = inherited {
            let failed =
                |error| StartError::of_system(format!("can't listen on {address}, passed in: {error}"));
            socket.set_nonblocking(true).map_err(failed)?;
            // Its file is not ours to remove.
            bound.listeners.push(match address {
                ListenAddress::Tcp(_) => TcpListener::from(socket).into(),
                ListenAddress::Unix(_) => UnixListener::from(OwnedFd::from(socket)).into(),
            });
            bound.addresses.push(address);
            continue;
        }
        match &address {
            ListenAddress::Tcp(address) => {
                let failed = |error| tcp_bind_error(*address, &error, &passed_in);
                let (listener, address) = bind_tcp(*address).map_err(failed)?;
                bound.listeners.push(listener.into());
                bound.addresses.push(ListenAddress::Tcp(address));
            }
            ListenAddress::Unix(path) => {
                let failed = |error: io::Error| StartError {
                    why: format!("can't listen on unix:{}: {error}", path.display()),
                    // Nobody but whoever put it there takes it away.
                    is_configuration: error.kind() == io::ErrorKind::AlreadyExists,
                };
                let is_own = *path == state_dir.socket_path();
                let listener =
                    if is_own { bind_own_socket(path) } else { bind_unix(path) }.map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                bound.sockets.push(SocketFile(path.clone()));
                bound.listeners.push(listener.into());
                bound.addresses.push(ListenAddress::Unix(path.clone()));
            }
        }
    }
    Ok(bound)
}

/// Why `address` can't be listened on; a socket of `passed_in` that has its port is to blame for that.
fn tcp_bind_error(address: SocketAddr, error: &io::Error, passed_in: &[(String, SocketAddr)]) -> StartError {
    let holder = passed_in.iter().find(|(_, held)| blocks_port(*held, address));
    match holder.filter(|_| error.kind() == io::ErrorKind::AddrInUse) {
        Some((name, held)) => StartError::of_configuration(format!(
            "can't listen on tcp://{address}: the socket {name:?} that was passed in holds that port, on \
             tcp://{held}; change it in the socket unit (systemctl edit vmherd.socket: an empty ListenStream= \
             first, then ListenStream={address}) and leave it out of --listen (or VMHERD_LISTEN)"
        )),
        None => StartError::of_system(format!("can't listen on tcp://{address}: {error}")),
    }
}

/// Whether a socket on `held` keeps others from `address`.
fn blocks_port(held: SocketAddr, address: SocketAddr) -> bool {
    let is_any = held.ip().is_unspecified() || address.ip().is_unspecified();
    // Others than ours may be for IPv4 as well.
    let is_for_both = held.is_ipv6() && held.ip().is_unspecified();
    let shares_family = held.is_ipv4() == address.is_ipv4() || is_for_both;
    held.port() == address.port() && shares_family && (is_any || held.ip() == address.ip())
}

fn bind_tcp(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A server that was just stopped leaves connections behind that must not keep its successor out.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are listed one by one, so one must not take the other's port.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Binds a socket that somebody named, in place of one that a dead server has left there.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Ok(metadata) = fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            let why = "something that is no socket is there";
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

/// Binds the state directory's own socket, which nobody else can connect to at any moment: it gets its
/// name after its mode. The directory's lock says that a socket left there is nobody's.
fn bind_own_socket(path: &Path) -> io::Result<UnixListener> {
    // No longer than the name itself, which is known to fit.
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
