//! The log: callers put lines into a bounded queue, and one thread writes them to standard error.
//!
//! Logging never blocks: if the queue is full, the line is dropped and counted, and the count is logged when the
//! queue has drained. One event is one line.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use log::{Level, Log, Metadata, Record};

use crate::diagnostic::print_diagnostic;
use crate::limits;
use crate::log_line::log_line;
use crate::settings::LogFormat;
use crate::sys::process::unix_now_ms;

pub use crate::log_line::LineStyle;

/// The log of this process; dropping it waits briefly until queued lines are written.
pub struct Logging(Arc<Logger>);

/// Lines that were dropped because the queue was full or writing failed.
static LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// The number of lines that were dropped.
pub fn lines_dropped() -> u64 {
    LINES_DROPPED.load(Ordering::Relaxed)
}

/// Starts the log of this process, to stderr. `filter` is in RUST_LOG's syntax.
pub fn start(filter: &str, style: LineStyle) -> io::Result<Logging> {
    let queue = Queue::start(io::stderr(), style, limits::LOG_QUEUE, &LINES_DROPPED)?;
    let logger = Arc::new(Logger { filter: RwLock::new(apply_max_level(filter)), queue });
    log::set_boxed_logger(Box::new(Arc::clone(&logger))).map_err(io::Error::other)?;
    Ok(Logging(logger))
}

/// Parses `filter` and sets the level up to which events are passed to it.
fn apply_max_level(filter: &str) -> env_logger::Logger {
    let filter = env_logger::Builder::new().parse_filters(filter).build();
    log::set_max_level(filter.filter());
    filter
}

/// The style of lines in `format`. Standard error is the journal if the environment variable JOURNAL_STREAM, looked
/// up with `variable`, names it.
pub fn line_style(format: LogFormat, variable: impl Fn(&str) -> Option<OsString>) -> LineStyle {
    let stream = variable("JOURNAL_STREAM").and_then(|stream| stream.into_string().ok());
    let is_for_journal =
        stream.is_some_and(|stream| stream_name(io::stderr()).is_ok_and(|own| own == stream));
    LineStyle { format, is_for_journal }
}

/// Writes a message directly to standard error, for times when logging has not started or has failed. In text
/// format the message is formatted for a person at a terminal.
pub fn log_to_stderr(style: LineStyle, level: Level, message: fmt::Arguments<'_>) {
    match (style.format, style.is_for_journal, level) {
        (LogFormat::Text, false, Level::Error) => print_diagnostic("vmherd", message),
        (LogFormat::Text, false, _) => print_diagnostic("vmherd", format_args!("warning: {message}")),
        _ => {
            let line = log_line(style, unix_now_ms(), level, "vmherd", message);
            // An error can't be reported: standard error is closed.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

impl Logging {
    /// Replaces the filter.
    pub fn set_filter(&self, filter: &str) {
        *self.0.filter.write().unwrap_or_else(PoisonError::into_inner) = apply_max_level(filter);
    }
}

impl Drop for Logging {
    /// Waits until queued lines are written, at most [`limits::LOG_FLUSH_WAIT`].
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// The backend of the `log` crate's macros.
struct Logger {
    filter: RwLock<env_logger::Logger>,
    queue: Arc<Queue>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.read().unwrap_or_else(PoisonError::into_inner).enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let is_wanted = self.filter.read().unwrap_or_else(PoisonError::into_inner).matches(record);
        if is_wanted {
            self.queue.push(record.level(), record.target(), *record.args());
        }
    }

    fn flush(&self) {
        self.queue.flush(limits::LOG_FLUSH_WAIT);
    }
}

/// The queue of lines, and how many of them are written.
struct Queue {
    lines: SyncSender<String>,
    style: LineStyle,
    dropped: &'static AtomicU64,
    /// Lines queued so far.
    pushed: AtomicU64,
    /// Lines of those written or dropped so far.
    done: Mutex<u64>,
    is_done: Condvar,
}

impl Queue {
    /// Starts a queue of `lines_max` lines and a thread that writes them to `output`.
    fn start(
        output: impl Write + Send + 'static,
        style: LineStyle,
        lines_max: usize,
        dropped: &'static AtomicU64,
    ) -> io::Result<Arc<Queue>> {
        let (lines, waiting) = sync_channel(lines_max);
        let (pushed, done, is_done) = (AtomicU64::new(0), Mutex::new(0), Condvar::new());
        let queue = Arc::new(Queue { lines, style, dropped, pushed, done, is_done });
        let writer =
            Writer { output, waiting, queue: queue.clone(), dropped_logged: dropped.load(Ordering::Relaxed) };
        thread::Builder::new().name("log".into()).spawn(move || writer.run())?;
        Ok(queue)
    }

    fn push(&self, level: Level, target: &str, message: fmt::Arguments<'_>) {
        let line = log_line(self.style, unix_now_ms(), level, target, message);
        let counter = match self.lines.try_send(line) {
            Ok(()) => &self.pushed,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.dropped,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn flush(&self, wait_max: Duration) {
        let pushed = self.pushed.load(Ordering::Relaxed);
        let is_behind = |done: &mut u64| *done < pushed;
        // Neither a timeout nor a panic of the writer could be reported here.
        drop(self.is_done.wait_timeout_while(self.lock_done(), wait_max, is_behind));
    }

    fn lock_done(&self) -> MutexGuard<'_, u64> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log thread.
struct Writer<W> {
    output: W,
    waiting: Receiver<String>,
    queue: Arc<Queue>,
    dropped_logged: u64,
}

impl<W: Write> Writer<W> {
    /// Writes lines until the process ends.
    fn run(mut self) {
        let mut next = self.waiting.recv().ok();
        while let Some(first) = next {
            let lines = self.write_batch(&first);
            next = self.waiting.try_recv().ok();
            let is_drained = next.is_none();
            if is_drained {
                self.log_dropped();
            }
            *self.queue.lock_done() += lines;
            self.queue.is_done.notify_all();
            if is_drained {
                next = self.waiting.recv().ok();
            }
        }
    }

    /// Writes `first` and as many queued lines as fit into a batch; returns their number.
    fn write_batch(&mut self, first: &str) -> u64 {
        let mut batch = String::from(first);
        let mut lines = 1;
        while batch.len() + limits::LOG_LINE_BYTES_MAX <= limits::LOG_BATCH_BYTES
            && let Ok(line) = self.waiting.try_recv()
        {
            batch.push_str(&line);
            lines += 1;
        }
        self.write(&batch, lines);
        lines
    }

    fn write(&mut self, text: &str, lines: u64) {
        let written = self.output.write_all(text.as_bytes()).and_then(|()| self.output.flush());
        if written.is_err() {
            self.queue.dropped.fetch_add(lines, Ordering::Relaxed);
        }
    }

    fn log_dropped(&mut self) {
        let dropped = self.queue.dropped.load(Ordering::Relaxed);
        let count = dropped - self.dropped_logged;
        if count > 0 {
            self.dropped_logged = dropped;
            let message = format_args!("{count} log lines were dropped");
            let line = log_line(self.queue.style, unix_now_ms(), Level::Warn, module_path!(), message);
            self.write(&line, 0);
        }
    }
}

/// Device and inode of `output`, in the format of JOURNAL_STREAM.
fn stream_name(output: impl AsFd) -> io::Result<String> {
    let metadata = File::from(output.as_fd().try_clone_to_owned()?).metadata()?;
    Ok(format!("{}:{}", metadata.dev(), metadata.ino()))
}

/// Logs each panic as one event from now on. If the log filter excludes errors, it is written directly in the same
/// style.
pub fn log_panics(style: LineStyle) {
    panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("(unnamed)");
        let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let why = text.or(payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)");
        let backtrace = Backtrace::capture();
        let backtrace = match backtrace.status() {
            BacktraceStatus::Captured => format!("\n{backtrace}"),
            _ => String::new(),
        };
        let message = format!("thread {name} panicked{place}: {why}{backtrace}");
        if log::log_enabled!(Level::Error) {
            log::error!("{message}");
        } else {
            log_to_stderr(style, Level::Error, format_args!("{message}"));
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// Hands each write to the test, and completes it only when the test releases it.
    struct BlockingOutput {
        written: Sender<String>,
        passes: Receiver<()>,
    }

    impl Write for BlockingOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.written.send(text).map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.passes.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Fixture {
        queue: Arc<Queue>,
        written: Receiver<String>,
        pass: Sender<()>,
        dropped: &'static AtomicU64,
    }

    fn blocked_log(lines_max: usize) -> Fixture {
        let (written_sender, written) = channel();
        let (pass, passes) = channel();
        let dropped: &'static AtomicU64 = Box::leak(Box::default());
        let gate = BlockingOutput { written: written_sender, passes };
        let style = LineStyle { format: LogFormat::Text, is_for_journal: false };
        let queue = Queue::start(gate, style, lines_max, dropped).unwrap();
        Fixture { queue, written, pass, dropped }
    }

    impl Fixture {
        fn log(&self, text: &str) {
            self.queue.push(Level::Info, "t", format_args!("{text}"));
        }

        /// Waits for a write to begin and returns its messages.
        fn next_write(&self) -> Vec<String> {
            let text = self.written.recv_timeout(FAR).expect("a write");
            text.lines().map(|line| line.split_once(": ").expect("a target").1.to_owned()).collect()
        }

        /// Completes a write that has begun.
        fn release(&self) {
            self.pass.send(()).expect("the log thread");
        }
    }

    const FAR: Duration = Duration::from_secs(10);

    #[test]
    fn journal_is_detected_by_its_stream() {
        let own = stream_name(io::stderr()).unwrap();
        let style = |stream: Option<&str>| line_style(LogFormat::Text, |_| stream.map(OsString::from));
        assert!(style(Some(&own)).is_for_journal);
        for other in [None, Some(""), Some("0:0"), Some(&*format!("{own}0"))] {
            assert!(!style(other).is_for_journal, "{other:?}");
        }
    }

    #[test]
    fn lines_are_written_in_order() {
        let log = blocked_log(100);
        (0..50).for_each(|n| log.log(&n.to_string()));
        let mut seen = Vec::new();
        while seen.len() < 50 {
            seen.extend(log.next_write());
            log.release();
        }
        assert_eq!(seen, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
        assert_eq!(log.dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn full_queue_drops_lines_and_logs_the_count() {
        let log = blocked_log(4);
        log.log("first");
        assert_eq!(log.next_write(), ["first"]);
        // Its write has not ended, so that nothing more is taken from the queue.
        (0..50).for_each(|n| log.log(&n.to_string()));
        assert_eq!(log.dropped.load(Ordering::Relaxed), 46);
        log.release();
        assert_eq!(log.next_write(), ["0", "1", "2", "3"]);
        log.release();
        assert_eq!(log.next_write(), ["46 log lines were dropped"]);
        log.release();
        log.log("later");
        assert_eq!(log.next_write(), ["later"], "the count is said once");
        log.release();
        log.queue.flush(FAR);
        assert!(log.written.try_recv().is_err());
    }

    #[test]
    fn flush_waits_for_earlier_lines() {
        let log = blocked_log(10);
        log.log("one");
        log.release();
        log.queue.flush(FAR);
        assert_eq!(*log.queue.lock_done(), 1);
    }

    #[test]
    fn flush_has_a_timeout() {
        let log = blocked_log(10);
        log.log("one");
        log.queue.flush(Duration::from_millis(1));
        assert_eq!(*log.queue.lock_done(), 0, "the gate is closed");
    }

    #[test]
    fn unwritable_lines_count_as_dropped() {
        let Fixture { queue, written, pass, dropped } = blocked_log(10);
        drop((written, pass));
        queue.push(Level::Info, "t", format_args!("one"));
        queue.flush(FAR);
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    }
}
