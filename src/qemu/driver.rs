//! The thread that drives all VMs: it starts QEMUs, waits for their sockets and processes, and keeps their times. It owns
//! each VM from its order to its end.
//!
//! It is not the reactor's thread, although it never waits for one VM either: it starts processes and writes files, which
//! may take milliseconds, and clients of the server must not notice. One thread lasts as long as the server runs, because
//! the kernel kills the QEMUs that a thread has started when it ends, unless they are to survive.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

use super::guest::{Creation, DestroyResponder, Guest, Shared, TOKENS};
use super::ports::Ports;
use super::settings::{Accelerator, QemuSettings};
use super::vm_files::{Leftover, VmFiles, VmRecord};
use crate::clock::{Clock, Instant, SystemClock};
use crate::embed::EndReporter;
use crate::ids::ContainerId;
use crate::limits;
use crate::sys::pidfd::Pidfd;

/// A handle to the thread.
pub(super) struct Driver {
    inbox: Arc<Inbox>,
    /// Disconnected when the thread ends.
    ended: Receiver<()>,
}

/// What other threads ask for. As long as the server's containers.
struct Inbox {
    requests: Mutex<Vec<Request>>,
    waker: Waker,
}

/// A request to the thread.
pub(super) enum Request {
    Create {
        id: ContainerId,
        files: VmFiles,
        record: VmRecord,
        creation: Creation,
    },
    Destroy(ContainerId, DestroyResponder),
    /// To end all VMs within this time, and then the thread.
    Stop(Duration),
}

/// The state of the thread.
struct Loop {
    poll: Poll,
    inbox: Arc<Inbox>,
    settings: Arc<QemuSettings>,
    accelerator: Accelerator,
    ends: EndReporter,
    clock: SystemClock,
    ports: Ports,
    /// By the number of their first token divided by [`TOKENS`], in the order of their arrival.
    guests: BTreeMap<usize, Guest>,
    by_id: HashMap<ContainerId, usize>,
    /// The number of the next VM; none is used twice, so that a late event finds nothing.
    next: usize,
    /// VMs that may boot at the same time.
    boots_max: usize,
    buffer: Vec<u8>,
    /// All VMs must be gone then.
    stop_by: Option<Instant>,
}

impl Driver {
    /// Starts the thread, which takes over the VMs of `survivors`.
    pub(super) fn start(
        settings: Arc<QemuSettings>,
        accelerator: Accelerator,
        ends: EndReporter,
        survivors: Vec<(Leftover, Pidfd)>,
    ) -> io::Result<Driver> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let inbox = Arc::new(Inbox { requests: Mutex::default(), waker });
        let mut driver = Loop {
            poll,
            inbox: Arc::clone(&inbox),
            ports: Ports::new(settings.ports.clone()),
            settings,
            accelerator,
            ends,
            clock: SystemClock::new(),
            guests: BTreeMap::new(),
            by_id: HashMap::new(),
            next: 0,
            boots_max: thread::available_parallelism().map_or(1, usize::from),
            buffer: vec![0; limits::VM_READ_BYTES],
            stop_by: None,
        };
        let (ends_with, ended): (Sender<()>, _) = channel();
        thread::Builder::new().name("vmherd-vms".into()).spawn(move || {
            let _ends = ends_with;
            for (leftover, process) in survivors {
                driver.take_over(leftover, process);
            }
            if let Err(error) = driver.run() {
                log::error!("the thread of the VMs has failed: {error}");
            }
        })?;
        Ok(Driver { inbox, ended })
    }

    /// Asks for something. After a panic of the thread, requests are dropped with their responders.
    pub(super) fn ask(&self, request: Request) {
        if self.ended.try_recv() == Err(TryRecvError::Disconnected) {
            return log::error!("the thread of the VMs has ended");
        }
        self.inbox.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        if let Err(error) = self.inbox.waker.wake() {
            log::error!("the thread of the VMs can't be woken: {error}");
        }
    }

    /// Ends all VMs and the thread; returns whether that was complete in this time.
    pub(super) fn stop(self, time_max: Duration) -> bool {
        self.ask(Request::Stop(time_max));
        self.ended.recv_timeout(time_max) == Err(RecvTimeoutError::Disconnected)
    }
}

impl Loop {
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut has_more = false;
        loop {
            let wait = if has_more { Some(Duration::ZERO) } else { self.wait_time() };
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                let Token(token) = event.token();
                if let Some(guest) = self.guests.get_mut(&(token / TOKENS)) {
                    guest.note(token % TOKENS, self.poll.registry());
                }
            }
            let requests =
                std::mem::take(&mut *self.inbox.requests.lock().unwrap_or_else(PoisonError::into_inner));
            requests.into_iter().for_each(|request| self.take(request));
            has_more = self.advance();
            if self.stop_by.is_some() && self.guests.is_empty() {
                return Ok(());
            }
        }
    }

    /// How long nothing is due; `None`: until an event.
    fn wait_time(&mut self) -> Option<Duration> {
        let now = self.clock.now();
        let due = self.guests.values().filter_map(Guest::deadline).chain(self.stop_by).min()?;
        Some(due.since(now))
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Create { id, files, record, creation } => {
                let guest = |number, shared: &mut Shared<'_>| {
                    Guest::new(id, number * TOKENS, (files, record), creation, shared)
                };
                self.add(id, guest);
            }
            Request::Destroy(id, responder) => {
                let number = self.by_id.get(&id).copied();
                match number.and_then(|number| self.guests.remove_entry(&number)) {
                    Some((number, mut guest)) => {
                        guest.destroy(responder, &mut self.shared());
                        self.guests.insert(number, guest);
                    }
                    // It has ended by itself, or with the server before.
                    None => responder.respond(Ok(())),
                }
            }
            Request::Stop(time_max) => {
                let now = self.clock.now();
                self.stop_by = Some(now + time_max.saturating_sub(limits::VM_KILL_RESERVE));
                let reserve = limits::VM_QUIT_WAIT + limits::VM_KILL_RESERVE;
                let power_off = self.settings.stop_timeout.min(time_max.saturating_sub(reserve));
                self.for_each(|guest, shared| guest.stop(power_off, shared));
            }
        }
    }

    fn take_over(&mut self, leftover: Leftover, process: Pidfd) {
        let Leftover { id, files, record: Some(record), .. } = leftover else { return };
        log::info!("the VM {id} of an earlier run is taken over");
        self.add(id, |number, shared| {
            Guest::take_over(id, number * TOKENS, (files, record), process, shared)
        });
    }

    fn add(&mut self, id: ContainerId, guest: impl FnOnce(usize, &mut Shared<'_>) -> Guest) {
        let number = self.next;
        self.next += 1;
        let guest = guest(number, &mut self.shared());
        self.guests.insert(number, guest);
        self.by_id.insert(id, number);
    }

    /// Does what is due for each VM; returns whether there is more to read at once.
    fn advance(&mut self) -> bool {
        let mut has_more = false;
        self.for_each(|guest, shared| has_more |= guest.advance(shared));
        let booting = self.guests.values().filter(|guest| guest.is_booting()).count();
        let mut free = self.boots_max.saturating_sub(booting);
        self.for_each(|guest, shared| {
            if free > 0 && guest.is_queued() {
                free -= 1;
                guest.start(shared);
            }
        });
        let now = self.clock.now();
        if self.stop_by.is_some_and(|stop_by| now >= stop_by) {
            self.stop_by = Some(now + limits::VM_KILL_RESERVE);
            self.for_each(|guest, shared| guest.kill(shared.now));
        }
        let by_id = &mut self.by_id;
        self.guests.retain(|_, guest| {
            let is_gone = guest.is_gone();
            if is_gone {
                by_id.remove(&guest.id);
            }
            !is_gone
        });
        has_more
    }

    fn for_each(&mut self, mut act: impl FnMut(&mut Guest, &mut Shared<'_>)) {
        let mut guests = std::mem::take(&mut self.guests);
        let mut shared = self.shared();
        guests.values_mut().for_each(|guest| act(guest, &mut shared));
        self.guests = guests;
    }

    fn shared(&mut self) -> Shared<'_> {
        Shared {
            registry: self.poll.registry(),
            settings: &self.settings,
            accelerator: self.accelerator,
            ports: &mut self.ports,
            ends: &self.ends,
            buffer: &mut self.buffer,
            now: self.clock.now(),
            unix_now: self.clock.unix_now(),
        }
    }
}

/// Belongs to no VM.
const WAKER: Token = Token(usize::MAX);
/// Events taken at a time.
const EVENTS: usize = 256;
