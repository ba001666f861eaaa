//! How a VM boots: QEMU is started and makes its sockets, its monitor forwards a port of this host, and the guest greets
//! there.

use std::io;

use mio::{Registry, Token};
use serde_json::Value;

use super::{CONSOLES, ERRORS, Guest, LISTENER, MONITOR, PROBE, PROCESS, SERIAL, Shared, Stage};
use crate::clock::Instant;
use crate::limits;
use crate::model::HypervisorError;
use crate::qemu::command_line::NETWORK;
use crate::qemu::diagnostics::{ErrorOutput, GUEST_PANIC, describe_shutdown};
use crate::qemu::link::is_not_there_yet;
use crate::qemu::monitor::{Monitor, MonitorError, Reply, Request};
use crate::qemu::probe::Probe;
use crate::qemu::process;
use crate::qemu::qmp::{self, count_connections};
use crate::qemu::serial::SerialTokens;
use crate::qemu::vm_files::{CONSOLE_SOCKET, QMP_SOCKET, SERIAL_SOCKET};

/// A VM that boots.
pub(in crate::qemu) struct Boot {
    /// The guest must have greeted by then.
    until: Instant,
    step: Step,
    /// Ports that were tried.
    ports_tried: usize,
}

enum Step {
    /// QEMU makes its sockets; the next attempt to connect is at `retry_at`.
    Connecting { retry_at: Instant, answer_by: Instant },
    /// The monitor answers.
    Asking { answer_by: Instant },
    /// The monitor is closed: QEMU ends, or will be killed.
    Closed { error: String, answer_by: Instant },
    /// The guest boots until it greets.
    Probing(Box<Probe>),
}

impl Boot {
    pub(super) fn deadline(&self) -> Instant {
        let step = match &self.step {
            Step::Connecting { retry_at, answer_by } => *retry_at.min(answer_by),
            Step::Asking { answer_by } | Step::Closed { answer_by, .. } => *answer_by,
            Step::Probing(probe) => probe.deadline(),
        };
        step.min(self.until)
    }
}

impl Guest {
    /// Starts QEMU. The time to boot counts from here.
    pub(in crate::qemu) fn start(&mut self, shared: &mut Shared<'_>) {
        let Some(creation) = &self.creation else { return };
        let (settings, now) = (shared.settings, shared.now);
        let watcher = (shared.registry, self.token(PROCESS));
        let files = (&self.files, &mut self.record);
        let spawned = process::spawn(settings, shared.accelerator, creation.format, self.id, files, watcher);
        let (process, errors) = match spawned {
            Ok(spawned) => spawned,
            Err(error) => {
                let why = format!("--vm-qemu {} can't be started: {error}", settings.program.display());
                return self.never_boots(HypervisorError::new(&why));
            }
        };
        self.stage = Stage::Booting(Boot {
            until: now + settings.ready_timeout,
            step: Step::Connecting { retry_at: now, answer_by: now + limits::QEMU_ANSWER_TIMEOUT },
            ports_tried: 0,
        });
        self.process = Some(process);
        match ErrorOutput::new(errors, shared.registry, self.token(ERRORS)) {
            Ok(errors) => self.errors = errors,
            Err(error) => {
                self.fail(HypervisorError::new(&format!("QEMU's errors can't be read: {error}")), shared);
            }
        }
    }

    /// Takes the step of a boot that is due.
    pub(super) fn boot(&mut self, shared: &mut Shared<'_>) {
        let (now, token) = (shared.now, self.token(PROBE));
        let Stage::Booting(boot) = &mut self.stage else { return };
        if now >= boot.until {
            let limit = shared.settings.ready_timeout.as_secs_f64();
            let why =
                format!("its guest has not greeted at its SSH port within {limit} s (--vm-ready-timeout)");
            return self.fail(HypervisorError::new(&why), shared);
        }
        match &mut boot.step {
            Step::Connecting { answer_by, .. } | Step::Asking { answer_by } if now >= *answer_by => {
                let limit = limits::QEMU_ANSWER_TIMEOUT.as_secs();
                self.fail(HypervisorError::new(&format!("QEMU does not answer within {limit} s")), shared);
            }
            Step::Closed { error, answer_by } if now >= *answer_by => {
                let why = format!("QEMU has closed its monitor: {error}");
                self.fail(HypervisorError::new(&why), shared);
            }
            Step::Connecting { retry_at, .. } if now >= *retry_at => {
                *retry_at = now + limits::QEMU_CONNECT_RETRY;
                match self.connect(shared.registry) {
                    Ok(()) => self.set_step(Step::Asking { answer_by: now + limits::QEMU_ANSWER_TIMEOUT }),
                    Err(error) if is_not_there_yet(&error) => {}
                    Err(error) => self.monitor_closed(&error, now),
                }
            }
            Step::Probing(probe) => {
                if let (true, Some(port)) = (probe.advance(shared.registry, token, now), self.port) {
                    self.created(port, shared);
                }
            }
            _ => {}
        }
    }

    /// Connects to QEMU's sockets, as far as that is not done.
    pub(super) fn connect(&mut self, registry: &Registry) -> io::Result<()> {
        let tokens = self.serial_tokens();
        if !self.serial.is_connected() {
            self.serial.connect(&self.files.path(SERIAL_SOCKET), registry, tokens)?;
            self.serial.listen(&self.files.path(CONSOLE_SOCKET), registry, tokens)?;
        }
        if self.monitor.is_none() {
            let path = self.files.path(QMP_SOCKET);
            self.monitor = Some(Monitor::connect(&path, registry, self.token(MONITOR))?);
        }
        Ok(())
    }

    /// Sends a command to the monitor; returns whether there is one.
    pub(super) fn ask(&mut self, request: Request, command: &[u8]) -> bool {
        self.monitor.take_if(|monitor| monitor.send(request, command).is_err());
        self.monitor.is_some()
    }

    /// Reads what the monitor says, once.
    pub(super) fn read_monitor(&mut self, shared: &mut Shared<'_>) {
        let Some(monitor) = self.monitor.as_mut().filter(|monitor| monitor.is_readable()) else {
            return;
        };
        match monitor.read(shared.buffer) {
            Ok(replies) => replies.into_iter().for_each(|reply| self.take_reply(reply, shared)),
            Err(MonitorError::Closed(error)) => {
                self.monitor = None;
                self.monitor_closed(&error, shared.now);
            }
            Err(MonitorError::Invalid(error)) => {
                self.monitor = None;
                self.monitor_failed(&error, shared);
            }
        }
    }

    fn take_reply(&mut self, reply: Reply, shared: &mut Shared<'_>) {
        match reply {
            Reply::Event { name, data } => match &*name {
                "SHUTDOWN" => self.guest_end = self.guest_end.or(describe_shutdown(&data)),
                "GUEST_PANICKED" => self.guest_end = Some(GUEST_PANIC),
                _ => {}
            },
            Reply::To(Request::Negotiate, Ok(_)) => self.forward(shared, ""),
            Reply::To(Request::Forward(port), Ok(text)) => self.forwarded(port, &text, shared),
            Reply::To(Request::Connections, Ok(text)) => {
                let text = text.as_str().unwrap_or_default();
                if count_connections(text) > 0
                    && let Stage::Running(life) = &mut self.stage
                {
                    life.used(shared.now);
                }
            }
            Reply::To(Request::PowerOff | Request::Quit, Ok(_)) => {}
            Reply::To(request, Err(error)) => {
                self.monitor_failed(&format!("{request:?}: {error}"), shared);
            }
        }
    }

    /// Has the monitor forward the next port. `refused` is why it did not take the one before.
    fn forward(&mut self, shared: &mut Shared<'_>, refused: &str) {
        let now = shared.now;
        let Stage::Booting(boot) = &mut self.stage else { return };
        let is_tried = boot.ports_tried == shared.ports.count();
        let Some(port) = Some(()).filter(|()| !is_tried).and_then(|()| shared.ports.take()) else {
            let range = &shared.settings.ports;
            let refused = if refused.is_empty() { "VMs have all of them" } else { refused };
            let why = format!("--vm-ports {}-{}: no port is free: {refused}", range.start(), range.end());
            return self.fail(HypervisorError::new(&why), shared);
        };
        boot.ports_tried += 1;
        boot.step = Step::Asking { answer_by: now + limits::QEMU_ANSWER_TIMEOUT };
        self.port = Some(port);
        let rule = format!("hostfwd_add {NETWORK} tcp:{}:{port}-:22", shared.settings.address);
        if !self.ask(Request::Forward(port), &qmp::human_command(&rule)) {
            self.monitor_closed(&io::ErrorKind::BrokenPipe.into(), now);
        }
    }

    /// Takes the reply about a port: an empty text is success.
    fn forwarded(&mut self, port: u16, text: &Value, shared: &mut Shared<'_>) {
        let text = text.as_str().unwrap_or("it is no text").trim();
        if text.is_empty() {
            return self.set_step(Step::Probing(Box::new(Probe::new(
                shared.settings.address,
                port,
                shared.now,
            ))));
        }
        self.port = None;
        shared.ports.release(port);
        self.forward(shared, text);
    }

    /// Notes that the monitor is closed. If that is because QEMU ends, its end is reported in a moment.
    fn monitor_closed(&mut self, error: &io::Error, now: Instant) {
        if let Stage::Booting(_) = self.stage {
            self.set_step(Step::Closed { error: error.to_string(), answer_by: now + limits::VM_QUIT_WAIT });
        }
    }

    /// Notes that the monitor does not what it should.
    fn monitor_failed(&mut self, error: &str, shared: &mut Shared<'_>) {
        let why = format!("QEMU's monitor has failed: {error}");
        match self.stage {
            Stage::Booting(_) => self.fail(HypervisorError::new(&why), shared),
            Stage::Running(_) => log::warn!("the VM {}: {why}", self.id),
            _ => {}
        }
    }

    fn set_step(&mut self, step: Step) {
        if let Stage::Booting(boot) = &mut self.stage {
            boot.step = step;
        }
    }

    pub(super) fn token(&self, channel: usize) -> Token {
        Token(self.tokens + channel)
    }

    pub(super) fn serial_tokens(&self) -> SerialTokens {
        let (link, listener) = (self.token(SERIAL), self.token(LISTENER));
        SerialTokens { link, listener, consoles: self.token(CONSOLES) }
    }
}
