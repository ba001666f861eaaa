//! One VM: from its place in the queue to its end.
//!
//! | stage | ends with |
//! | --- | --- |
//! | queued | a place to boot; or the time is over: it is unavailable |
//! | booting | the guest's greeting: created; or a failure: its creation fails when QEMU is gone |
//! | running | the end of QEMU, which is reported; or an order to end it |
//! | ending | the end of QEMU |
//! | gone | |

mod boot;
mod life;

use std::process::ExitStatus;
use std::time::Duration;

use mio::Registry;

use super::diagnostics::{ErrorOutput, describe_end, log_console};
use super::image::ImageFormat;
use super::monitor::{Monitor, Request};
use super::ports::Ports;
use super::process::Process;
use super::qmp;
use super::serial::Serial;
use super::serial_log::SerialLog;
use super::settings::{Accelerator, QemuSettings};
use super::vm_files::{VmFiles, VmRecord};
use crate::clock::{Instant, UnixSeconds};
use crate::embed::{EndReporter, Responder};
use crate::ids::ContainerId;
use crate::limits;
use crate::model::{Container, HypervisorError, VmShape};
use crate::sys::pidfd::Pidfd;
use boot::Boot;
use life::Life;

/// What all VMs share.
pub(super) struct Shared<'a> {
    pub(super) registry: &'a Registry,
    pub(super) settings: &'a QemuSettings,
    pub(super) accelerator: Accelerator,
    pub(super) ports: &'a mut Ports,
    pub(super) ends: &'a EndReporter,
    pub(super) buffer: &'a mut [u8],
    pub(super) now: Instant,
    pub(super) unix_now: UnixSeconds,
}

/// A VM.
pub(super) struct Guest {
    pub(super) id: ContainerId,
    /// The first of its tokens.
    pub(super) tokens: usize,
    pub(super) files: VmFiles,
    pub(super) record: VmRecord,
    pub(super) stage: Stage,
    pub(super) process: Option<Process>,
    pub(super) monitor: Option<Monitor>,
    pub(super) serial: Serial,
    pub(super) errors: ErrorOutput,
    /// What the guest did that ends QEMU.
    pub(super) guest_end: Option<&'static str>,
    pub(super) creation: Option<Creation>,
    destroyer: Option<DestroyResponder>,
    pub(super) port: Option<u16>,
}

/// What is needed until a VM is created.
pub(super) struct Creation {
    pub(super) format: ImageFormat,
    pub(super) iso_sha256: [u8; 32],
    pub(super) shape: VmShape,
    pub(super) disk_sizes_gib: Vec<u64>,
    pub(super) responder: Responder<Result<Container, HypervisorError>>,
}

pub(super) type DestroyResponder = Responder<Result<(), HypervisorError>>;

/// How far a VM is.
pub(super) enum Stage {
    /// It waits for a place to boot, until then.
    Queued(Instant),
    Booting(Boot),
    Running(Life),
    Ending {
        cause: Cause,
        step: EndStep,
        until: Instant,
    },
    Gone,
}

/// Why a VM is ended.
pub(super) enum Cause {
    /// It did not become ready.
    Failed(HypervisorError),
    /// By a setting.
    Expired(&'static str),
    Destroyed,
    ServerStops,
}

/// How a VM is ended; each step follows the one before after some time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EndStep {
    /// Its power button is pressed; the guest may take this time.
    PowerOff(Duration),
    Quit,
    Kill,
}

impl Guest {
    /// A VM that waits for a place to boot.
    pub(super) fn new(
        id: ContainerId,
        tokens: usize,
        (files, record): (VmFiles, VmRecord),
        creation: Creation,
        shared: &Shared<'_>,
    ) -> Guest {
        let until = shared.now + shared.settings.ready_timeout;
        Guest {
            creation: Some(creation),
            ..Guest::in_stage(Stage::Queued(until), id, tokens, (files, record), shared)
        }
    }

    /// A VM that an earlier server has started, with its process.
    pub(super) fn take_over(
        id: ContainerId,
        tokens: usize,
        (files, record): (VmFiles, VmRecord),
        process: Pidfd,
        shared: &mut Shared<'_>,
    ) -> Guest {
        let stage = Stage::Running(Life::new(record.begun, shared));
        let mut guest = Guest::in_stage(stage, id, tokens, (files, record), shared);
        guest.port = guest.record.port;
        if let Some(port) = guest.port {
            shared.ports.occupy(port);
        }
        let token = guest.token(PROCESS);
        match Process::watch(process, shared.registry, token) {
            Ok(process) => guest.process = Some(process),
            Err(error) => {
                guest.files.remove();
                guest.stage = Stage::Gone;
                shared.ends.ended(id, &format!("it can't be watched: {error}"));
                return guest;
            }
        }
        if let Err(error) = guest.connect(shared.registry) {
            log::warn!("the VM {id} runs, but does not listen to this server: {error}");
        }
        guest
    }

    fn in_stage(
        stage: Stage,
        id: ContainerId,
        tokens: usize,
        (files, record): (VmFiles, VmRecord),
        shared: &Shared<'_>,
    ) -> Guest {
        Guest {
            id,
            tokens,
            files,
            record,
            stage,
            process: None,
            monitor: None,
            serial: Serial::new(SerialLog::open(&shared.settings.logs_dir(), id)),
            errors: ErrorOutput::none(),
            guest_end: None,
            creation: None,
            destroyer: None,
            port: None,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self.stage, Stage::Gone)
    }

    pub(super) fn is_queued(&self) -> bool {
        matches!(self.stage, Stage::Queued(_))
    }

    /// Whether it takes a place to boot, or still runs after it has failed to.
    pub(super) fn is_booting(&self) -> bool {
        matches!(self.stage, Stage::Booting(_) | Stage::Ending { cause: Cause::Failed(_), .. })
    }

    /// When [`Guest::advance`] is due, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Queued(until) | Stage::Ending { until, .. } => Some(*until),
            Stage::Booting(boot) => Some(boot.deadline()),
            Stage::Running(life) => {
                life.expires.into_iter().chain(life.idle.as_ref().map(|idle| idle.check_at)).min()
            }
            Stage::Gone => None,
        }
    }

    /// Notes an event of one of its descriptors, by the number of its token.
    pub(super) fn note(&mut self, channel: usize, registry: &Registry) {
        match channel {
            PROCESS => self.process.iter_mut().for_each(Process::set_ready),
            MONITOR => self.monitor.iter_mut().for_each(Monitor::set_ready),
            SERIAL => self.serial.set_link_ready(),
            LISTENER => self.serial.accept(registry, self.serial_tokens()),
            ERRORS => self.errors.set_ready(),
            // Read whenever the VM is advanced.
            PROBE..ERRORS => {}
            console => self.serial.set_console_ready(console - CONSOLES),
        }
    }

    /// Does what is due: reads a bounded part of what has arrived, and takes the next step. Returns whether there may be
    /// more.
    pub(super) fn advance(&mut self, shared: &mut Shared<'_>) -> bool {
        self.errors.read(shared.buffer);
        if let Some(status) = self.process.as_mut().and_then(Process::ended) {
            self.end(status, shared);
            return false;
        }
        self.read_monitor(shared);
        let has_more = self.serial.advance(shared.buffer);
        self.take_step(shared);
        has_more || self.monitor.as_ref().is_some_and(Monitor::is_readable)
    }

    /// Takes the step of its stage that is due.
    fn take_step(&mut self, shared: &mut Shared<'_>) {
        let now = shared.now;
        match &mut self.stage {
            Stage::Queued(until) if now >= *until => {
                let limit = shared.settings.ready_timeout.as_secs();
                let why = format!("no place to boot was free within {limit} s (--vm-ready-timeout)");
                self.never_boots(HypervisorError::unavailable(&why));
            }
            Stage::Booting(_) => self.boot(shared),
            Stage::Running(life) if life.expires.is_some_and(|expires| now >= expires) => {
                self.begin_end(Cause::Expired("its maximum life is over (--vm-life-max)"), shared);
            }
            Stage::Running(Life { idle: Some(idle), .. }) if now >= idle.check_at => {
                if idle.is_over(now) {
                    self.begin_end(Cause::Expired("it was not used (--vm-idle-timeout)"), shared);
                } else {
                    self.ask(Request::Connections, &qmp::human_command("info usernet"));
                }
            }
            Stage::Ending { step, until, .. } if now >= *until => {
                let next = match step {
                    EndStep::PowerOff(_) => EndStep::Quit,
                    EndStep::Quit => EndStep::Kill,
                    EndStep::Kill => {
                        log::error!("QEMU of the VM {} does not end after it was killed", self.id);
                        EndStep::Kill
                    }
                };
                self.take_end_step(next, now);
            }
            _ => {}
        }
    }

    /// Destroys the VM, and answers when it is gone.
    pub(super) fn destroy(&mut self, responder: DestroyResponder, shared: &mut Shared<'_>) {
        self.destroyer = Some(responder);
        match &self.stage {
            Stage::Queued(_) => self.never_boots(HypervisorError::new("it was destroyed")),
            Stage::Booting(_) => self.fail(HypervisorError::new("it was destroyed while it booted"), shared),
            Stage::Running(_) => self.begin_end(Cause::Destroyed, shared),
            Stage::Ending { step: EndStep::PowerOff(_), .. } => self.take_end_step(EndStep::Quit, shared.now),
            Stage::Ending { .. } | Stage::Gone => {}
        }
    }

    /// Ends the VM because the server stops; a guest gets `power_off` to power off. One that survives goes on.
    pub(super) fn stop(&mut self, power_off: Duration, shared: &mut Shared<'_>) {
        match &self.stage {
            Stage::Queued(_) => self.never_boots(HypervisorError::new("the server stops")),
            Stage::Booting(_) => self.fail(HypervisorError::new("the server stops"), shared),
            Stage::Running(_) if shared.settings.survives => self.stage = Stage::Gone,
            Stage::Running(_) => {
                self.begin_end_with(Cause::ServerStops, EndStep::PowerOff(power_off), shared)
            }
            Stage::Ending { .. } | Stage::Gone => {}
        }
    }

    /// Kills the VM: there is no time left.
    pub(super) fn kill(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Ending { step: EndStep::PowerOff(_) | EndStep::Quit, .. }) {
            self.take_end_step(EndStep::Kill, now);
        }
    }

    /// Ends the creation of a VM that does not become ready.
    pub(super) fn fail(&mut self, error: HypervisorError, shared: &mut Shared<'_>) {
        self.begin_end_with(Cause::Failed(error), EndStep::Kill, shared);
    }

    /// Notes that the guest has greeted: the VM is created.
    pub(super) fn created(&mut self, port: u16, shared: &Shared<'_>) {
        self.stage = Stage::Running(Life::new(self.record.begun, shared));
        self.record.port = Some(port);
        if let Err(error) = self.files.write_record(&self.record) {
            log::warn!("the VM {} can't be taken over by a later server: {error}", self.id);
        }
        let (Some(creation), Ok(listen_port)) = (self.creation.take(), port.try_into()) else { return };
        let Creation { iso_sha256, shape, disk_sizes_gib, responder, .. } = creation;
        responder.endpoint_shell_opened();
        responder.respond(Ok(Container { listen_port, iso_sha256, shape, disk_sizes_gib }));
    }

    /// Ends a creation before QEMU was started.
    pub(super) fn never_boots(&mut self, error: HypervisorError) {
        self.stage = Stage::Gone;
        self.files.remove();
        self.answer(Err(error));
    }

    fn begin_end(&mut self, cause: Cause, shared: &mut Shared<'_>) {
        let step = match cause {
            Cause::Expired(_) => EndStep::PowerOff(shared.settings.stop_timeout),
            _ => EndStep::Quit,
        };
        self.begin_end_with(cause, step, shared);
    }

    fn begin_end_with(&mut self, cause: Cause, step: EndStep, shared: &mut Shared<'_>) {
        self.stage = Stage::Ending { cause, step, until: shared.now };
        self.take_end_step(step, shared.now);
    }

    fn take_end_step(&mut self, next: EndStep, now: Instant) {
        let is_asked = match next {
            EndStep::PowerOff(_) => self.ask(Request::PowerOff, &qmp::command("system_powerdown")),
            EndStep::Quit => self.ask(Request::Quit, &qmp::command("quit")),
            EndStep::Kill => false,
        };
        let next = if is_asked { next } else { EndStep::Kill };
        let wait = match next {
            EndStep::PowerOff(time) => time,
            EndStep::Quit => limits::VM_QUIT_WAIT,
            EndStep::Kill => limits::VM_UNDO_WAIT,
        };
        if next == EndStep::Kill
            && let Some(Err(error)) = self.process.as_ref().map(Process::kill)
        {
            log::error!("QEMU of the VM {} can't be killed: {error}", self.id);
        }
        if let Stage::Ending { step, until, .. } = &mut self.stage {
            (*step, *until) = (next, now + wait);
        }
    }

    /// Notes the end of QEMU.
    fn end(&mut self, status: Option<ExitStatus>, shared: &mut Shared<'_>) {
        while self.monitor.as_ref().is_some_and(Monitor::is_readable) {
            self.read_monitor(shared);
        }
        self.serial.drain(shared.buffer);
        self.errors.set_ready();
        self.errors.read(shared.buffer);
        let reason = describe_end(self.guest_end, status, &self.errors);
        (self.process, self.monitor) = (None, None);
        if let Some(port) = self.port.take() {
            shared.ports.release(port);
        }
        self.files.remove();
        let stage = std::mem::replace(&mut self.stage, Stage::Gone);
        let ended = match stage {
            Stage::Queued(_) | Stage::Gone => return,
            Stage::Booting(_) => {
                log_console(self.id, self.serial.log());
                let why = format!("the VM has ended before it was ready: {reason}");
                return self.answer(Err(HypervisorError::new(&why)));
            }
            Stage::Ending { cause: Cause::Failed(error), .. } => {
                log_console(self.id, self.serial.log());
                return self.answer(Err(error));
            }
            Stage::Ending { cause: Cause::Destroyed | Cause::ServerStops, .. } => None,
            Stage::Ending { cause: Cause::Expired(why), .. } => Some(why),
            Stage::Running(_) => Some(&*reason),
        };
        if let (Some(why), None) = (ended, &self.destroyer) {
            shared.ends.ended(self.id, why);
        }
        self.answer(Ok(()));
    }

    /// Answers what is asked of a VM that is gone: its creation with an error, its destruction with success.
    fn answer(&mut self, created: Result<(), HypervisorError>) {
        if let (Some(creation), Err(error)) = (self.creation.take(), created) {
            creation.responder.respond(Err(error));
        }
        if let Some(destroyer) = self.destroyer.take() {
            destroyer.respond(Ok(()));
        }
    }
}

/// The tokens of a VM, from its first: its process, its sockets, QEMU's standard error, and the consoles.
pub(super) const PROCESS: usize = 0;
pub(super) const MONITOR: usize = 1;
pub(super) const SERIAL: usize = 2;
pub(super) const LISTENER: usize = 3;
pub(super) const PROBE: usize = 4;
pub(super) const ERRORS: usize = PROBE + limits::SSH_PROBES_MAX;
pub(super) const CONSOLES: usize = ERRORS + 1;
/// The number of tokens of a VM.
pub(super) const TOKENS: usize = CONSOLES + limits::CONSOLES_PER_VM_MAX;
