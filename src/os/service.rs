//! The daemon's life: settings become a server, the service manager is told of it, signals change it and end
//! it.

use std::env;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{self, ExitCode};
use std::thread;

use log::{error, info, warn};

use super::activation::inherited_sockets;
use super::logging::{self, LineStyle, Logging};
use super::notify::{Notifier, watchdog_interval};
use super::signal_loop::{self, ShutdownResult, SignalHandler};
use crate::config::{Config, Invocation, Report, Resolved, SettingChange, Sources};
use crate::limits;
use crate::server::{InheritedListener, Running, Server, StartError};
use crate::sys::poll::wait_readable;
use crate::sys::process::raise_descriptor_limit;
use crate::sys::signals::{Signal, Signals};

/// Serves until a signal or a failure ends it. `sources` are what `settled` was read from.
pub fn serve(sources: &Sources, resolved: Resolved, style: LineStyle) -> io::Result<ExitCode> {
    // Before anything is opened that could be taken for one of them.
    let inherited = inherited_sockets(|name| env::var_os(name))?;
    // Before the first thread, the log's, so that no thread dies of a signal.
    let mut signals = Signals::block(&Signal::ALL)?;
    let log = logging::start(&resolved.config.log, style)?;
    let end = run(sources, resolved, inherited, &mut signals, &log).inspect_err(|error| error!("{error}"))?;
    // Waits for what was said, once: the exits below would not.
    drop(log);
    match end {
        ShutdownResult::Completed => Ok(ExitCode::SUCCESS),
        // Nothing that still runs is waited for.
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
    let Resolved { mut config, report, warnings } = resolved;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    let notifier = Notifier::new(|name| env::var_os(name))?;
    limit_connections(&mut config);
    info!("opening the store {}", config.store);
    notifier.status(&format!("opening the store {}", config.store));
    let mut server = match bind(&config, inherited)? {
        StartResult::Server(server) => *server,
        StartResult::Stopped(signal) => {
            info!("{signal}: stopped before the store was open");
            notifier.stopping();
            return Ok(ShutdownResult::Completed);
        }
    };
    if let Some(interval) = watchdog_interval(|name| env::var_os(name))
        && let Some(beat) = notifier.watchdog()?
    {
        server.set_watchdog(interval, beat);
    }
    if let Some(openings) = server.openings() {
        warn!("{openings}");
    }
    let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
    let status = format!("listening on {}, store {}", addresses.join(", "), config.store);
    let (open_notifier, open_status) = (notifier.clone(), status.clone());
    server.set_on_store_open(move || open_notifier.status(&open_status));
    let running = server.start()?;
    info!("vmherd {} with the store {}", env!("CARGO_PKG_VERSION"), config.store);
    addresses.iter().for_each(|address| info!("listening on {address}"));
    let started = report.clone();
    let mut service = Service { running, log, notifier, sources, started, latest: report, status };
    service.notify_ready();
    let ended = service.running.ended().try_clone_to_owned()?;
    let end = signal_loop::wait_for_shutdown(signals, ended.as_fd(), &mut service)?;
    // In any other case nothing that still runs is waited for.
    if end != ShutdownResult::Completed {
        service.running.data_loss().iter().for_each(|loss| error!("{loss}"));
        return Ok(end);
    }
    service.running.join()?;
    info!("stopped");
    Ok(end)
}

/// How binding the server ended.
enum StartResult {
    Server(Box<Server>),
    /// The signal came first.
    Stopped(Signal),
}

/// Binds the server on a thread of its own: the store may be slow to open, and nothing serves yet that a
/// signal would have to wait for. That thread ends with the process.
fn bind(config: &Config, inherited: Vec<InheritedListener>) -> io::Result<StartResult> {
    // Only those to end the process are taken; others stay where they are for the server that is to be.
    let mut signals = Signals::block(&Signal::ENDING)?;
    let (has_bound, binds) = UnixStream::pair()?;
    let config = config.clone();
    let binding = thread::Builder::new().name("vmherd-bind".into()).spawn(move || {
        // It closes with the thread, whatever ends that.
        let _binds = binds;
        Server::bind_with(&config, inherited)
    })?;
    loop {
        let [is_bound, has_signal] = wait_readable([has_bound.as_fd(), signals.as_fd()], None)?;
        if is_bound {
            let panicked = |_| {
                Err(StartError {
                    why: "the thread that opens the store has panicked".into(),
                    is_configuration: false,
                })
            };
            let server = binding.join().unwrap_or_else(panicked).map_err(io::Error::other)?;
            return Ok(StartResult::Server(Box::new(server)));
        }
        if has_signal && let Some(signal) = signals.receive()? {
            return Ok(StartResult::Stopped(signal));
        }
    }
}

/// The server that runs, and what signals work with.
struct Service<'a> {
    running: Running,
    log: &'a Logging,
    notifier: Notifier,
    sources: &'a Sources,
    /// The settings that the server was made of.
    started: Report,
    /// Those that were read last.
    latest: Report,
    /// What the service manager is shown while nothing else goes on.
    status: String,
}

impl SignalHandler for Service<'_> {
    fn stop(&mut self, signal: Signal) {
        info!("{signal}: stopping, within {} s; a second signal stops at once", limits::STOP_GRACE.as_secs());
        self.notifier.stopping();
        self.running.stop(limits::STOP_GRACE);
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
    /// Ready is who serves, also while the store is away: it may go away later as well, and come back.
    fn notify_ready(&self) {
        if self.running.is_store_open() {
            return self.notifier.ready(&self.status);
        }
        self.notifier.ready(&format!("waiting for the store; {}", self.status));
        // It may have come in between, and said so before.
        if self.running.is_store_open() {
            self.notifier.status(&self.status);
        }
    }

    /// Reads the settings again and takes them; all or, where anything is wrong with them, none.
    fn reload_settings(&mut self) -> Result<(), String> {
        let Resolved { mut config, report, warnings } = match self.sources.parse() {
            Ok(Invocation::Run(resolved)) => *resolved,
            Ok(_) => return Err("they are not those of a daemon any more".into()),
            Err(error) => return Err(error.to_string()),
        };
        limit_connections(&mut config);
        let filter = config.log.clone();
        if !self.running.reload(config) {
            return Err("the server did not take them in time".into());
        }
        warnings.iter().for_each(|warning| warn!("{warning}"));
        let changes = report.changes(&self.started, &self.latest);
        for change in &changes {
            match change {
                SettingChange { needs_restart: true, .. } => warn!("{change}"),
                _ => info!("{change}"),
            }
        }
        self.log.set_filter(&filter);
        self.latest = report;
        match changes.iter().filter(|change| !change.needs_restart).count() {
            0 => info!("the settings were read again: nothing has changed"),
            count => info!("the settings were read again: {count} changed"),
        }
        Ok(())
    }
}

/// Lets no more connections in than there are descriptors for.
fn limit_connections(config: &mut Config) {
    let descriptors = match raise_descriptor_limit() {
        Ok(descriptors) => descriptors,
        Err(error) => return warn!("can't raise the limit of open files: {error}"),
    };
    let fitting = config.connections_within(descriptors);
    if fitting < config.connections_max {
        warn!(
            "at most {fitting} connections instead of {}: this process may have {descriptors} files open \
             (ulimit -n, LimitNOFILE=)",
            config.connections_max
        );
        config.connections_max = fitting;
    }
}
