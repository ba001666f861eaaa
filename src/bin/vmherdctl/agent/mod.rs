//! `vmherdctl agent`: keeps a VM authenticated, and puts the metrics of its host.
//!
//! The main thread takes samples and waits for signals; another one has the connection to the server. Between them is the
//! backlog, a file: what the server has acknowledged leaves it, and nothing else does unless it is full.

mod arguments;
mod backlog;
mod backoff;
mod credentials;
mod host;
mod key;
mod limits;
mod log_lines;
mod outbox;
mod sample;
mod schedule;
mod uplink;

use std::env;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use log::{error, info, warn};

use crate::notify::Notifier;
use crate::parser::NotParsed;
use crate::run::{print, report};
use crate::sys::poll::wait_readable;
use crate::sys::process::unix_now_ms;
use crate::sys::signals::{Signal, Signals};
use arguments::Settings;
#[cfg(test)]
pub use arguments::parser;
use backlog::Backlog;
use credentials::Credentials;
use host::Host;
use outbox::Outbox;
use schedule::Schedule;
use uplink::Uplink;

/// Runs the agent with the arguments after `agent`, until a signal ends it.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let settings = match Settings::read(arguments) {
        Ok(settings) => settings,
        Err(NotParsed::Text(text)) => {
            return print(text.as_bytes())
                .map_or_else(|failure| report(&failure, false), |()| ExitCode::SUCCESS);
        }
        Err(NotParsed::Failure(failure)) => return report(&failure, false),
    };
    log_lines::start();
    match serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(settings: Settings) -> io::Result<()> {
    let mut signals = Signals::block(&Signal::ALL)?;
    let notifier = Notifier::new(|name| env::var_os(name))?;
    let state_dir = settings.state_dir;
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", state_dir.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(&state_dir).map_err(named)?;
    let backlog = Backlog::open(&state_dir, settings.backlog_bytes).map_err(named)?;

    let mut host = Host::new(settings.name.clone());
    let schedule = Schedule::new(settings.interval, &settings.name);
    let registration = settings.register.then(|| host.registration());
    let credentials = Credentials::new(
        state_dir.clone(),
        settings.server.clone(),
        settings.name.clone(),
        settings.token_file,
        settings.password_file,
    );
    let outbox = Arc::new(Outbox::new(backlog));
    let mut is_ready = false;
    let on_login = move || {
        if !mem::replace(&mut is_ready, true) {
            notifier.ready("reporting");
        }
    };
    let uplink =
        Uplink::new(settings.server, settings.name, credentials, registration, Arc::clone(&outbox), on_login);
    let (running, ended) = channel::<()>();
    thread::Builder::new().name("uplink".into()).spawn(move || {
        // Dropped at the end of the thread, after a panic too.
        let _running = running;
        uplink.run();
    })?;

    loop {
        outbox.push(host.sample((unix_now_ms() / 1000) as i64));
        let now = Duration::from_millis(unix_now_ms());
        if let Some(signal) = wait_for_signal(&mut signals, schedule.wait(now))? {
            info!("{signal}: stopping");
            break;
        }
        if ended.try_recv() == Err(TryRecvError::Disconnected) {
            return Err(io::Error::other("the thread that sends has ended"));
        }
    }
    outbox.stop();
    if ended.recv_timeout(limits::STOP_FLUSH) == Err(RecvTimeoutError::Timeout) {
        warn!("the server did not take the waiting samples in time");
    }
    info!("stopped; waiting samples: {}", outbox.count());
    Ok(())
}

/// Waits for a signal to end, at most this long.
fn wait_for_signal(signals: &mut Signals, wait: Duration) -> io::Result<Option<Signal>> {
    let end = Instant::now() + wait;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        wait_readable([signals.as_fd()], Some(left))?;
        match signals.receive()? {
            Some(signal) if Signal::ENDING.contains(&signal) => return Ok(Some(signal)),
            // Such as that of a terminal that is closed.
            Some(_) => {}
            None if left.is_zero() => return Ok(None),
            None => {}
        }
    }
}
