//! The daemon's life cycle: starts a server, notifies the service manager, reloads and stops on signals.

use std::env;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{self, ExitCode};
use std::thread;
use std::time::Duration;

use log::{Level, error, info, warn};
#[cfg(feature = "qemu")]
use vmherd::Qemu;
use vmherd::{
    Config, InheritedListener, ListenAddress, Running, Server, ServerBuilder, raise_descriptor_limit,
};

use crate::activation::inherited_sockets;
use crate::limits;
use crate::logging::{self, LineStyle, Logging};
use crate::notify::{Notifier, watchdog_interval};
#[cfg(feature = "qemu")]
use crate::settings::VmSettings;
use crate::settings::{Invocation, Report, Resolved, Sources};
use crate::signal_loop::{self, ShutdownResult, SignalHandler};
use crate::sys::memory::keep_at_most;
use crate::sys::poll::wait_readable;
use crate::sys::signals::{Signal, Signals};

/// Serves until a signal or a failure ends it. `sources` are the sources of `resolved`.
pub fn serve(sources: &Sources, resolved: Resolved, style: LineStyle) -> io::Result<ExitCode> {
    // Before anything is opened, because the sockets are identified by their descriptor numbers.
    let inherited = inherited_sockets(|name| env::var_os(name))?;
    // Before the first thread starts, which is the log's, so that all threads block these signals.
    let mut signals = Signals::block(&Signal::ALL)?;
    let log = logging::start(&resolved.log.filter, style)?;
    let end = run(sources, resolved, inherited, &mut signals, &log).inspect_err(|error| error!("{error}"))?;
    // Flushes the log, because `process::exit` below does not.
    drop(log);
    match end {
        ShutdownResult::Completed => Ok(ExitCode::SUCCESS),
        // Do not wait for threads that still run.
        ShutdownResult::Forced(signal) => process::exit(128 + signal.number()),
        ShutdownResult::TimedOut => process::exit(1),
    }
}

fn run(
    sources: &Sources,
    resolved: Resolved,
    inherited: Vec<InheritedListener>,
    signals: &mut Signals,
    log: &Logging,
) -> io::Result<ShutdownResult> {
    #[cfg(feature = "qemu")]
    let vms = resolved.vms.clone();
    let Resolved { mut config, report, warnings, .. } = resolved;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    let notifier = Notifier::new(|name| env::var_os(name))?;
    #[cfg(feature = "qemu")]
    let vm_descriptors =
        vms.as_ref().map_or(0, |vms| u64::from(vms.running_max) * limits::DESCRIPTORS_PER_VM);
    #[cfg(not(feature = "qemu"))]
    let vm_descriptors = 0;
    keep_at_most(limits::FREED_BYTES_KEPT);
    limit_connections(&mut config, vm_descriptors);
    info!("opening the store {}", config.store);
    notifier.status(&format!("opening the store {}", config.store));
    let builder = Server::builder(config.clone());
    let stop_grace = limits::STOP_GRACE;
    #[cfg(feature = "qemu")]
    let (builder, stop_grace) = match vms {
        Some(VmSettings { qemu, running_max, .. }) => {
            let stop_grace = stop_grace + qemu.stop_timeout;
            (builder.hypervisor(Qemu::new(qemu)).containers_max(running_max), stop_grace)
        }
        None => (builder, stop_grace),
    };
    let Some(mut server) = bind(builder.inherit(inherited))? else {
        notifier.stopping(stop_time_max(limits::STOP_GRACE));
        return Ok(ShutdownResult::Completed);
    };
    if let Some(interval) = watchdog_interval(|name| env::var_os(name))
        && let Some(beat) = notifier.watchdog()?
    {
        server.set_watchdog(interval, beat);
    }
    if let Some(warning) = server.open_listeners_warning() {
        warn!("{warning}");
    }
    let server_addresses = server.addresses().to_vec();
    let addresses: Vec<String> = server_addresses.iter().map(ToString::to_string).collect();
    let status = format!("listening on {}, store {}", addresses.join(", "), config.store);
    let (open_notifier, open_status) = (notifier.clone(), status.clone());
    server.set_on_store_open(move || open_notifier.status(&open_status));
    let running = server.start()?;
    info!("vmherd {} with the store {}", env!("CARGO_PKG_VERSION"), config.store);
    addresses.iter().for_each(|address| info!("listening on {address}"));
    let started = report.clone();
    match server_addresses.iter().find_map(example_request) {
        Some(request) => info!("ready; try: {request}"),
        None => info!("ready"),
    }
    let mut service = Service {
        running,
        log,
        notifier,
        sources,
        started,
        latest: report,
        status,
        stop_grace,
        vm_descriptors,
    };
    service.notify_ready();
    let ended = service.running.ended().try_clone_to_owned()?;
    let stop_wait_max = stop_grace + limits::STOP_OVERRUN;
    let end = signal_loop::wait_for_shutdown(signals, ended.as_fd(), stop_wait_max, &mut service)?;
    // After a forced or late end, do not wait for threads that still run.
    if end != ShutdownResult::Completed {
        service.running.data_loss().iter().for_each(|loss| error!("{loss}"));
        return Ok(end);
    }
    service.running.join()?;
    info!("stopped");
    Ok(end)
}

/// Binds the server on a thread of its own, so that a signal can stop the daemon while the store is slow to open; then
/// there is no server. The thread ends with the process.
fn bind(builder: ServerBuilder) -> io::Result<Option<Server>> {
    // Take only signals that end the process; others stay pending until the server runs.
    let mut signals = Signals::block(&Signal::ENDING)?;
    let (has_bound, binds) = UnixStream::pair()?;
    let binding = thread::Builder::new().name("vmherd-bind".into()).spawn(move || {
        // Closes when the thread ends for any reason.
        let _binds = binds;
        builder.counter("log_lines_dropped", logging::lines_dropped).bind()
    })?;
    loop {
        let [is_bound, has_signal] = wait_readable([has_bound.as_fd(), signals.as_fd()], None)?;
        if is_bound {
            let panicked = |_| io::Error::other("the thread that opens the store has panicked");
            return binding.join().map_err(panicked)?.map(Some).map_err(io::Error::other);
        }
        if has_signal && let Some(signal) = signals.receive()? {
            info!("{signal}: stopped before the store was open");
            return Ok(None);
        }
    }
}

/// The running server and the state for signal handling.
struct Service<'a> {
    running: Running,
    log: &'a Logging,
    notifier: Notifier,
    sources: &'a Sources,
    /// The settings at the start.
    started: Report,
    /// The settings after the last reload.
    latest: Report,
    /// The normal status for the service manager.
    status: String,
    /// The time that a stop may take.
    stop_grace: Duration,
    /// Descriptors that VMs may need.
    vm_descriptors: u64,
}

impl SignalHandler for Service<'_> {
    fn stop(&mut self, signal: Signal) {
        info!("{signal}: stopping, within {} s; a second signal stops at once", self.stop_grace.as_secs());
        self.notifier.stopping(stop_time_max(self.stop_grace));
        self.running.stop_handle().stop(self.stop_grace);
    }

    fn reload(&mut self) {
        self.notifier.reloading();
        match self.reload_settings() {
            Ok(()) => self.notify_ready(),
            Err(why) => {
                error!("the settings stay as they were: {why}");
                self.notifier.ready(&format!("{}; other settings were refused, see the log", self.status));
            }
        }
    }

    fn log_statistics(&mut self) {
        self.running.log_statistics();
    }
}

impl Service<'_> {
    /// Reports ready even while the store is unavailable: it may also become unavailable, and return, later.
    fn notify_ready(&self) {
        if self.running.is_store_open() {
            return self.notifier.ready(&self.status);
        }
        self.notifier.ready(&format!("waiting for the store; {}", self.status));
        // The store may have opened in between and set its status before this one.
        if self.running.is_store_open() {
            self.notifier.status(&self.status);
        }
    }

    /// Reads the settings again and applies all of them, or none if any is invalid.
    fn reload_settings(&mut self) -> Result<(), String> {
        let Resolved { mut config, log, report, warnings, .. } = match self.sources.parse() {
            Ok(Invocation::Run(resolved)) => *resolved,
            Ok(_) => return Err("the settings no longer ask to run the daemon".into()),
            Err(error) => return Err(error.to_string()),
        };
        limit_connections(&mut config, self.vm_descriptors);
        if !self.running.reload(config) {
            return Err("the server did not apply them in time".into());
        }
        warnings.iter().for_each(|warning| warn!("{warning}"));
        let changes = report.changes(&self.started, &self.latest);
        for change in &changes {
            log::log!(if change.needs_restart { Level::Warn } else { Level::Info }, "{}", change.text);
        }
        self.log.set_filter(&log.filter);
        self.latest = report;
        match changes.iter().filter(|change| !change.needs_restart).count() {
            0 => info!("the settings were read again: nothing has changed"),
            count => info!("the settings were read again: {count} changed"),
        }
        Ok(())
    }
}

/// The time that a stop with this grace period takes at most.
fn stop_time_max(grace: Duration) -> Duration {
    grace + limits::STOP_OVERRUN + limits::LOG_FLUSH_WAIT
}

/// A command that sends a first request to `address`, if there is one without a program of its own.
fn example_request(address: &ListenAddress) -> Option<String> {
    const REQUEST: &str = r#"echo '{"command":"ping","data":{}}' | nc -N"#;
    Some(match address {
        ListenAddress::Unix(path) => format!("{REQUEST} -U {}", path.display()),
        ListenAddress::Tcp(address) => {
            let ip = match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            format!("{REQUEST} {ip} {}", address.port())
        }
        // Its clients exchange keys first.
        ListenAddress::Sealed(_) => return None,
    })
}

/// Lowers the limit on connections to what the limit on open files allows, beside those that VMs need.
fn limit_connections(config: &mut Config, vm_descriptors: u64) {
    let descriptors = match raise_descriptor_limit() {
        Ok(descriptors) => descriptors,
        Err(error) => return warn!("can't raise the limit of open files: {error}"),
    };
    let fitting = config.connections_within(descriptors.saturating_sub(vm_descriptors));
    if fitting < config.connections_max {
        warn!(
            "at most {fitting} connections instead of {}: this process may have {descriptors} files open \
             (ulimit -n, LimitNOFILE=)",
            config.connections_max
        );
        config.connections_max = fitting;
    }
}

#[cfg(all(test, feature = "qemu"))]
mod tests {
    use super::*;

    #[test]
    fn the_unit_waits_for_the_longest_stop_that_no_setting_has_prolonged() {
        let unit = include_str!("../../../systemd/vmherd.service");
        let seconds = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("a line");
        let wait = Duration::from_secs(seconds.parse().expect("a number"));
        let vms = vmherd::QemuSettings::new("", "").stop_timeout;
        assert!(stop_time_max(limits::STOP_GRACE + vms) < wait, "{wait:?}");
    }
}
