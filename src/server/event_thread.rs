//! The thread that calls the callbacks.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::embed::{Disconnector, Event, EventKind, EventKinds, EventQueue, panic_message};
use crate::limits;
use crate::model::CustomCommands;

/// The callbacks of a program.
#[derive(Default)]
pub struct Callbacks {
    all: Vec<Callback>,
    /// For each kind of event the callbacks that want it, by index.
    by_kind: [Vec<usize>; EventKind::ALL.len()],
}

/// Called with each event of its kinds.
type Callback = Box<dyn FnMut(&Event) + Send>;

/// The running thread; dropping it lets the thread end by itself.
pub struct EventThread {
    queue: Arc<EventQueue>,
    /// Disconnected when the thread ends.
    ended: Receiver<()>,
}

impl Callbacks {
    /// Adds a callback.
    pub fn add(&mut self, kinds: EventKinds, callback: impl FnMut(&Event) + Send + 'static) {
        for kind in EventKind::ALL.into_iter().filter(|kind| kinds.contains(*kind)) {
            self.by_kind[kind as usize].push(self.all.len());
        }
        self.all.push(Box::new(callback));
    }

    /// All kinds that have a callback.
    pub fn kinds(&self) -> EventKinds {
        let mut kinds = EventKinds::default();
        for kind in EventKind::ALL.into_iter().filter(|kind| !self.by_kind[*kind as usize].is_empty()) {
            kinds.extend(kind.into());
        }
        kinds
    }

    /// Starts the thread, which runs until `queue` is closed; without callbacks there is none.
    pub fn start(
        self,
        queue: Arc<EventQueue>,
        customs: Arc<CustomCommands>,
        disconnector: Arc<Disconnector>,
    ) -> io::Result<Option<EventThread>> {
        if self.all.is_empty() {
            return Ok(None);
        }
        let (ends, ended) = channel::<()>();
        let thread_queue = Arc::clone(&queue);
        thread::Builder::new().name(THREAD.into()).spawn(move || {
            let _ends = ends;
            self.run(&thread_queue, &customs, &disconnector);
        })?;
        Ok(Some(EventThread { queue, ended }))
    }

    fn run(mut self, queue: &EventQueue, customs: &CustomCommands, disconnector: &Arc<Disconnector>) {
        let mut events = Vec::new();
        while queue.take(&mut events) {
            for queued in events.drain(..) {
                let count = queued.count();
                let Some(event) = queued.into_event(customs, disconnector) else {
                    debug_assert!(false, "an event without a field of its kind");
                    continue;
                };
                (0..count).for_each(|_| self.report(&event, queue));
            }
            events.shrink_to(limits::EVENTS_CAPACITY_KEPT);
        }
    }

    /// Calls the callbacks of the event's kind, and those of runtime errors for each panic of theirs.
    fn report(&mut self, event: &Event, queue: &EventQueue) {
        for error in self.call(event) {
            queue.count_failed();
            log::error!("{error}");
            // A panic of this callback is counted and logged, too, but is no further event.
            if event.kind() != EventKind::RuntimeError && queue.wants(EventKind::RuntimeError) {
                let client = event.client().cloned();
                let errors = self.call(&Event::RuntimeError { thread: THREAD, error, client });
                errors.iter().for_each(|error| {
                    queue.count_failed();
                    log::error!("{error}");
                });
            }
        }
    }

    /// Calls the callbacks of the event's kind; returns their panics.
    fn call(&mut self, event: &Event) -> Vec<String> {
        let kind = event.kind();
        let mut errors = Vec::new();
        for &index in &self.by_kind[kind as usize] {
            let callback = &mut self.all[index];
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| callback(event))) {
                errors.push(format!("a callback of {kind:?} panicked: {}", panic_message(&*panic)));
            }
        }
        errors
    }
}

impl EventThread {
    /// Ends the thread after the queued events and the last one, and waits at most `wait`; returns whether it has ended.
    pub fn end(self, wait: Duration) -> bool {
        self.queue.push_of_server(EventKind::Stopped);
        self.queue.close();
        self.ended.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected)
    }
}

/// The name of the thread.
const THREAD: &str = "vmherd-events";
