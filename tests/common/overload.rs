//! What the tests of overload share: a healthy client that measures latency while a daemon is attacked, and checks of
//! the daemon's memory, descriptors and counters.
//!
//! Such figures depend on the machine and the moment: tests that measure run one at a time, latency is compared with a
//! control measured just before, and the best of three attempts counts.

// Each test binary takes what it needs of this.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Builder, Client, DEADLINE, Daemon, wait_until};

/// What a healthy client waits for its answer, at most. Only a reactor that blocks on a store or does unbounded work is
/// slower; benchmarks measure how fast it is.
pub const LATENCY_MAX: Duration = Duration::from_secs(1);
/// Or so many times the worst latency of the idle machine, where that is more.
pub const LATENCY_FACTOR_MAX: u32 = 5;

/// Keeps every other test of this binary waiting while it lives.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `attempt` until its healthy client was served well, three times at most. All else that it checks has to hold
/// every time.
#[track_caller]
pub fn best_of_three(row: &str, mut attempt: impl FnMut() -> Latencies) {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let served = attempt();
        eprintln!("{row}: {served}");
        if served.is_good() {
            return;
        }
        seen.push(served.to_string());
    }
    panic!("{row}: a healthy client waited too long, three times: {seen:#?}");
}

/// How much memory a daemon may have more than before it was attacked, in KiB.
#[derive(Clone, Copy)]
pub struct MemoryBounds {
    /// At any moment.
    pub peak_kib: u64,
    /// In the end.
    pub kept_kib: u64,
}

/// Runs `attack` on a daemon of `build` beside a healthy client, as [`best_of_three`] does; the daemon's memory stays in
/// `bounds`.
#[track_caller]
pub fn attack_in_bounds(
    row: &str,
    bounds: MemoryBounds,
    build: impl Fn() -> Builder,
    mut attack: impl FnMut(&Daemon),
) {
    best_of_three(row, || {
        let daemon = build().start();
        let probe = LatencyProbe::start(&daemon);
        let baseline = Baseline::of(&daemon);
        attack(&daemon);
        let grown_kib = baseline.peak_growth_kib(&daemon);
        assert!(grown_kib < bounds.peak_kib, "the daemon grew by {grown_kib} KiB");
        baseline.expect_back(&daemon, bounds.kept_kib);
        probe.finish()
    });
}

/// A healthy client on a connection of its own that pings all the time.
pub struct LatencyProbe {
    idle_worst: Duration,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Wait>>>,
}

/// The latencies of a healthy client's pings.
pub struct Latencies {
    idle_worst: Duration,
    waits: Vec<Wait>,
}

/// One ping.
#[derive(Clone, Copy)]
struct Wait {
    /// From the request to the answer.
    whole: Duration,
    /// The part that the daemon is responsible for.
    of_daemon: Duration,
}

/// What is responsible when a thread of the daemon wants a processor and gets none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// Other processes, such as the load generators: real clients have processors of their own.
    Machine,
    /// The daemon, whose threads keep each other waiting.
    Daemon,
}

impl LatencyProbe {
    /// Measures the idle control, then pings until [`LatencyProbe::finish`]. The time in which other processes keep the
    /// reactor from running does not count.
    #[track_caller]
    pub fn start(daemon: &Daemon) -> LatencyProbe {
        LatencyProbe::with_blame(daemon, Blame::Machine)
    }

    /// The same where that time counts, since the daemon's own threads use the processors.
    #[track_caller]
    pub fn start_where_threads_compete(daemon: &Daemon) -> LatencyProbe {
        LatencyProbe::with_blame(daemon, Blame::Daemon)
    }

    /// The same on the daemon's own socket, where connections are short elsewhere: between its pings another would take
    /// its slot.
    #[track_caller]
    pub fn start_as_operator(daemon: &Daemon) -> LatencyProbe {
        LatencyProbe::with(daemon, daemon.operator(), Blame::Machine)
    }

    #[track_caller]
    fn with_blame(daemon: &Daemon, blame: Blame) -> LatencyProbe {
        LatencyProbe::with(daemon, daemon.client(), blame)
    }

    #[track_caller]
    fn with(daemon: &Daemon, mut client: Client, blame: Blame) -> LatencyProbe {
        // A thread that has served a client has its name.
        client.ping();
        let reactor = thread_named(daemon, "vmherd-reactor");
        let ping = move |client: &mut Client| match blame {
            Blame::Daemon => timed_ping(client, || Duration::ZERO),
            Blame::Machine => timed_ping(client, || {
                processor_wait(&reactor) + processor_wait(Path::new("/proc/thread-self"))
            }),
        };
        let idle_worst = (0..CONTROL_PINGS).map(|_| ping(&mut client).whole).max().expect("some");
        let is_over = Arc::new(AtomicBool::new(false));
        let thread_is_over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut waits = Vec::new();
            while !thread_is_over.load(Ordering::Relaxed) {
                waits.push(ping(&mut client));
            }
            waits
        });
        LatencyProbe { idle_worst, is_over, thread: Some(thread) }
    }

    /// Ends it; the latencies.
    pub fn finish(mut self) -> Latencies {
        self.is_over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it pings until now");
        let waits = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(waits.len() >= 3, "too few pings to tell: {}", waits.len());
        Latencies { idle_worst: self.idle_worst, waits }
    }
}

impl Drop for LatencyProbe {
    /// The pings of a test that has failed end before its daemon.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

impl Latencies {
    fn is_good(&self) -> bool {
        self.worst(|wait| wait.of_daemon) <= LATENCY_MAX.max(LATENCY_FACTOR_MAX * self.idle_worst)
    }

    fn worst(&self, part: impl Fn(&Wait) -> Duration) -> Duration {
        self.waits.iter().map(part).max().expect("some")
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, of_daemon) = (self.worst(|wait| wait.whole), self.worst(|wait| wait.of_daemon));
        let (count, idle_worst) = (self.waits.len(), self.idle_worst);
        write!(f, "{count} pings, worst {of_daemon:.1?} of {whole:.1?} (idle worst {idle_worst:.1?})")
    }
}

/// A ping, and how long it took without the time of `others`.
#[track_caller]
fn timed_ping(client: &mut Client, others: impl Fn() -> Duration) -> Wait {
    let (others_before, begin) = (others(), Instant::now());
    client.ping();
    let whole = begin.elapsed();
    let wait = Wait { whole, of_daemon: whole.saturating_sub(others() - others_before) };
    thread::park_timeout(Duration::from_millis(2));
    wait
}

/// How long the thread with this folder in /proc has waited for a processor in its life; zero where the system does not
/// report it.
fn processor_wait(thread: &Path) -> Duration {
    let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    let nanoseconds = text.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// The folder in /proc of the daemon's thread `name`.
#[track_caller]
fn thread_named(daemon: &Daemon, name: &str) -> PathBuf {
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.id())).expect("its threads");
    let mut folders = threads.map(|thread| thread.expect("a thread").path());
    let is_named = |folder: &PathBuf| {
        fs::read_to_string(folder.join("comm")).is_ok_and(|found| found.trim_end() == name)
    };
    folders.find(is_named).unwrap_or_else(|| panic!("the daemon has no thread {name}"))
}

const CONTROL_PINGS: usize = 150;

/// A daemon's memory and descriptors before it is attacked.
pub struct Baseline {
    memory_kib: u64,
    descriptors: Descriptors,
}

/// The number of a daemon's descriptors, by kind.
struct Descriptors {
    sockets: usize,
    /// Files and everything else.
    others: usize,
}

impl Baseline {
    /// Measures `daemon`, to which only a probe is connected, and resets its memory's peak.
    #[track_caller]
    pub fn of(daemon: &Daemon) -> Baseline {
        let mut operator = daemon.operator();
        wait_until("only a probe is connected", DEADLINE, || {
            statistic(&mut operator, "connections_open") == 2
        });
        let mut descriptors = Descriptors::of(daemon);
        descriptors.sockets -= 1;
        fs::write(format!("/proc/{}/clear_refs", daemon.id()), "5").expect("the peak can be reset");
        Baseline { memory_kib: daemon.memory_kib(), descriptors }
    }

    /// As [`Baseline::of`], where no client is connected.
    #[track_caller]
    pub fn of_idle(daemon: &Daemon) -> Baseline {
        let _client = daemon.client();
        Baseline::of(daemon).without_probe()
    }

    fn without_probe(mut self) -> Baseline {
        self.descriptors.sockets -= 1;
        self
    }

    /// How much more memory than before the daemon had at any moment since, in KiB.
    pub fn peak_growth_kib(&self, daemon: &Daemon) -> u64 {
        daemon.memory_peak_kib().saturating_sub(self.memory_kib)
    }

    /// How much more memory than before the daemon has now, in KiB.
    pub fn growth_kib(&self, daemon: &Daemon) -> u64 {
        daemon.memory_kib().saturating_sub(self.memory_kib)
    }

    /// Descriptors are back, and memory except for `kept_kib_max`. Sockets are back exactly; threads that have started
    /// meanwhile each have the store's files open. Returns how long that took, without the time in which other
    /// processes kept the reactor from running.
    #[track_caller]
    pub fn expect_back(&self, daemon: &Daemon, kept_kib_max: u64) -> Duration {
        let reactor = thread_named(daemon, "vmherd-reactor");
        let (begin, waited_before) = (Instant::now(), processor_wait(&reactor));
        let peak_kib = self.peak_growth_kib(daemon);
        let others_max = self.descriptors.others + STORE_FILES * (1 + cores());
        let (mut now, mut kept_kib) = (Descriptors::of(daemon), 0);
        wait_until_or(DEADLINE, || {
            (now, kept_kib) = (Descriptors::of(daemon), self.growth_kib(daemon));
            now.sockets == self.descriptors.sockets && kept_kib <= kept_kib_max
        });
        let others = processor_wait(&reactor).saturating_sub(waited_before);
        let time = begin.elapsed().saturating_sub(others);
        eprintln!("  memory: up by {peak_kib} KiB at most, by {kept_kib} KiB after {time:.1?}");
        assert_eq!(now.sockets, self.descriptors.sockets, "sockets are left open");
        assert!(now.others <= others_max, "{} files instead of {}", now.others, self.descriptors.others);
        assert!(kept_kib <= kept_kib_max, "{kept_kib} KiB instead of {kept_kib_max} are kept");
        time
    }
}

impl Descriptors {
    fn of(daemon: &Daemon) -> Descriptors {
        let mut found = Descriptors { sockets: 0, others: 0 };
        for entry in fs::read_dir(format!("/proc/{}/fd", daemon.id())).expect("its descriptors") {
            // A descriptor that was closed meanwhile does not count.
            let Ok(target) = entry.and_then(|entry| fs::read_link(entry.path())) else { continue };
            match target.to_string_lossy().starts_with("socket:") {
                true => found.sockets += 1,
                false => found.others += 1,
            }
        }
        found
    }
}

/// Processors of this machine.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Files that one connection to the store has open: the database, its log and the log's index.
const STORE_FILES: usize = 3;

/// Waits until `condition` holds or `deadline` has passed.
pub fn wait_until_or(deadline: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() && Instant::now() < end {
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// A counter of the daemon.
#[track_caller]
pub fn statistic(operator: &mut Client, name: &str) -> u64 {
    let statistics = operator.succeed("stats", json!({}));
    statistics[name].as_u64().unwrap_or_else(|| panic!("no {name} in {statistics}"))
}
