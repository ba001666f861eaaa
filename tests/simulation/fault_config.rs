//! Faults and limits of one simulated world. Each kind of fault is absent from half of all worlds, so that
//! behaviour that a fault would excuse is also checked without it.

use std::time::Duration;

use super::random::Random;
use vmherd::internals::limits;
use vmherd::internals::reactor::Bounds;

/// The faults and limits of one world.
#[derive(Clone, Debug)]
pub(super) struct FaultConfig {
    // ── The network ──
    /// Percent of reads and writes that are short.
    pub(super) short_percent: usize,
    /// Percent of writes that would block for a while.
    pub(super) refused_percent: usize,
    /// Percent of polls with a spurious event.
    pub(super) spurious_percent: usize,
    /// Percent of polls with an event of a closed connection.
    pub(super) stale_percent: usize,
    /// Percent of events delivered one iteration late.
    pub(super) late_event_percent: usize,
    /// Percent of clients whose connection breaks.
    pub(super) broken_percent: usize,
    /// Percent of accepts that fail because the client has disconnected.
    pub(super) aborted_percent: usize,
    /// Connections before accept runs out of descriptors.
    pub(super) descriptors_max: usize,
    /// Most bytes in flight to a client.
    pub(super) window_bytes: usize,
    // ── The workers ──
    /// Most microseconds for which a job waits, and for which it runs.
    pub(super) job_micros_max: usize,
    /// Percent of submissions refused.
    pub(super) full_percent: usize,
    /// Percent of runs that hang.
    pub(super) stuck_percent: usize,
    /// Percent of store tasks that fail.
    pub(super) failed_percent: usize,
    /// Percent of results delivered twice.
    pub(super) doubled_percent: usize,
    /// Most jobs queued in a lane.
    pub(super) queue_max: usize,
    /// Threads of a lane.
    pub(super) threads: usize,
    /// Most writes that a thread takes at once.
    pub(super) writes_at_once: usize,
    /// The store answers at once, so that the reactor does short work itself.
    pub(super) answers_at_once: bool,
    // ── The handlers ──
    /// The time that they have.
    pub(super) handler_deadline: Duration,
    /// Percent of calls that another thread answers.
    pub(super) handlers_later_percent: usize,
    /// Percent of calls without an answer; further ones are never answered, or panic.
    pub(super) handlers_failed_percent: usize,
    /// Percent of calls that close their client.
    pub(super) handlers_close_percent: usize,
    /// Percent of calls that do not return.
    pub(super) handlers_hang_percent: usize,
    // ── The hypervisor ──
    /// The most containers; `None`: there is no hypervisor.
    pub(super) containers_max: Option<u32>,
    /// Most clients create containers, which takes little time.
    pub(super) many_containers: bool,
    pub(super) create_time_max: Duration,
    /// Percent of its calls that fail.
    pub(super) guests_failed_percent: usize,
    /// Percent of its calls that are never answered.
    pub(super) guests_hang_percent: usize,
    /// Percent of guests that end by themselves.
    pub(super) guests_end_percent: usize,
    /// Percent of clients whose systems acknowledge only what they have read.
    pub(super) deaf_percent: usize,
    // ── Sealed connections ──
    /// The first generation of clients is accepted.
    #[cfg(feature = "sealed")]
    pub(super) accepts_first_generation: bool,
    /// Most clients are sealed, and come at the same time.
    pub(super) many_sealed: bool,
    // ── The points ──
    /// Points are written behind, to a faulty store.
    pub(super) writes_behind: bool,
    /// Old points are removed at random times.
    pub(super) removes_points: bool,
    /// Most keys in the store.
    pub(super) keys_max: u64,
    // ── The rest ──
    /// The wall clock jumps.
    pub(super) clock_jumps: bool,
    /// The operator removes VMs and changes passwords.
    pub(super) operator_acts: bool,
    /// The store begins with several pages of VMs.
    pub(super) many_vms: bool,
    /// The store begins with several pages of points.
    pub(super) many_points: bool,
    /// Clients request thousands of conversions.
    pub(super) many_convert: bool,
    /// Clients send larger incomplete requests than fit into memory.
    pub(super) clients_hoard: bool,
    /// Most bytes buffered for all connections.
    pub(super) buffers_bytes_max: usize,
    pub(super) bounds: Bounds,
    /// When the server is stopped, if before all clients have finished.
    pub(super) stop_after: Option<Duration>,
    pub(super) grace: Duration,
    pub(super) connections_max: usize,
    /// Most open requests of all connections.
    pub(super) requests_max: usize,
    /// Most open requests with an id on one connection.
    pub(super) named_max: usize,
    /// Most bytes of a request of an anonymous client.
    pub(super) anonymous_bytes_max: usize,
    /// Most bytes of a message decoded on the reactor thread.
    pub(super) inline_bytes_max: usize,
    /// Idle timeout of an authenticated client.
    pub(super) idle_authenticated: Option<Duration>,
    pub(super) clients: usize,
    /// One client always has more requests under way than its share of the workers.
    pub(super) has_greedy_client: bool,
}

impl FaultConfig {
    /// Makes room for clients that watch, which take nothing from the others then; whether that is possible.
    pub(super) fn make_room_for_watchers(&mut self) -> bool {
        if self.clients_hoard || self.has_greedy_client || self.many_convert {
            return false;
        }
        self.connections_max = self.connections_max.max(64);
        (self.descriptors_max, self.requests_max) = (usize::MAX, 1 << 20);
        true
    }

    /// Draws the configuration of one world.
    pub(super) fn new(random: &mut Random) -> FaultConfig {
        let mut maybe = |high: usize| if random.chance(50) { random.between(1, high) } else { 0 };
        let [short_percent, refused_percent, spurious_percent, stale_percent] =
            [maybe(60), maybe(20), maybe(20), maybe(40)];
        let [late_event_percent, broken_percent, aborted_percent] = [maybe(30), maybe(30), maybe(20)];
        let [full_percent, stuck_percent, failed_percent, doubled_percent] =
            [maybe(20), maybe(8), maybe(15), maybe(30)];
        let [handlers_later_percent, handlers_failed_percent] = [maybe(100), maybe(40)];
        let [handlers_close_percent, handlers_hang_percent] = [maybe(30), maybe(10)];
        let [guests_failed_percent, guests_hang_percent, guests_end_percent, deaf_percent] =
            [maybe(40), maybe(8), maybe(40), maybe(40)];
        let (is_calm, is_crowded) = (random.chance(30), random.chance(25));
        let clients_hoard = random.chance(6);
        let bounds = Bounds {
            steps_per_tick: random.pick(&[8, 64, limits::STEPS_PER_TICK_TOTAL_MAX]),
            bytes_per_tick: random.pick(&[1000, 64 << 10, limits::BYTES_PER_TICK_TOTAL_MAX]),
            delayed_bytes: random.pick(&[100, 2000, 1 << 20, limits::DELAYED_BYTES_MAX]),
            forgotten_at_once: random.pick(&[0, 4, limits::REQUESTS_DROPPED_AT_ONCE_MAX]),
        };
        let config = FaultConfig {
            clients_hoard,
            buffers_bytes_max: if clients_hoard {
                limits::BUFFERS_BYTES_MIN
            } else {
                limits::BUFFERS_BYTES_MAX
            },
            bounds,
            short_percent,
            refused_percent,
            spurious_percent,
            stale_percent,
            late_event_percent,
            broken_percent,
            aborted_percent,
            descriptors_max: random.pick(&[3, 5, usize::MAX, usize::MAX]),
            window_bytes: random.pick(&[64, 512, 4096, 65_536, 65_536]),
            job_micros_max: random.pick(&[50, 2_000, 50_000, 1_000_000]),
            full_percent,
            stuck_percent,
            failed_percent,
            doubled_percent,
            queue_max: random.pick(&[2, 8, 256, 256]),
            threads: random.between(1, 3),
            writes_at_once: limits::WRITES_PER_COMMIT_MAX,
            answers_at_once: false,
            handler_deadline: random.pick(&[
                Duration::from_millis(20),
                Duration::from_millis(500),
                Duration::from_secs(5),
                limits::HANDLER_DEADLINE,
            ]),
            handlers_later_percent,
            handlers_failed_percent,
            handlers_close_percent,
            handlers_hang_percent,
            containers_max: random.chance(50).then(|| random.pick(&[1, 3, 10, 1000])),
            many_containers: random.chance(10),
            create_time_max: random.pick(&[
                Duration::from_millis(20),
                Duration::from_secs(1),
                Duration::from_secs(20),
            ]),
            guests_failed_percent,
            guests_hang_percent,
            guests_end_percent,
            deaf_percent,
            #[cfg(feature = "sealed")]
            accepts_first_generation: random.chance(70),
            many_sealed: cfg!(feature = "sealed") && random.chance(6),
            writes_behind: is_crowded || random.chance(50),
            removes_points: is_crowded || random.chance(30),
            keys_max: match is_crowded || random.chance(30) {
                true => random.between(4, 24) as u64,
                false => limits::METRIC_KEYS_MAX,
            },
            clock_jumps: random.chance(40),
            operator_acts: random.chance(30),
            many_vms: random.chance(20),
            many_points: random.chance(8),
            many_convert: random.chance(4),
            stop_after: random.chance(40).then(|| random.micros(1_000, 15_000_000)),
            grace: random.pick(&[Duration::from_millis(300), limits::STOP_GRACE]),
            connections_max: random.pick(&[2, 4, 6, 64, 64, 64]),
            requests_max: random.pick(&[2, 1 << 20, 1 << 20, 1 << 20]),
            named_max: random.pick(&[2, 16, 16_384, 16_384]),
            anonymous_bytes_max: random.pick(&[2048, 20_000]),
            inline_bytes_max: random.pick(&[10, 60, 120, limits::INLINE_BYTES_MAX]),
            idle_authenticated: random.chance(50).then(|| Duration::from_secs(7200)),
            clients: random.between(3, 12),
            has_greedy_client: false,
        };
        // A list through a tiny window takes too long.
        let window_bytes =
            config.window_bytes.max(if config.many_vms || config.many_points { 4096 } else { 1 });
        let answers_at_once = !config.writes_behind && random.chance(50);
        let mut config = FaultConfig { window_bytes, answers_at_once, ..config };
        if config.many_convert {
            (config.requests_max, config.named_max) = (1 << 20, 16_384);
            config.window_bytes = config.window_bytes.max(512);
        }
        if config.many_containers {
            (config.containers_max, config.job_micros_max) = (Some(1000), config.job_micros_max.min(2_000));
        }
        if config.clients_hoard {
            (config.clients, config.anonymous_bytes_max) = (12, limits::REQUEST_BYTES_MAX);
        }
        // A message that a worker could not decode is refused without its id, so workers decode only where none can fail.
        match (random.chance(10), is_calm) {
            (true, _) => config.with_greedy_client(random),
            (false, true) => config.with_good_workers(),
            (false, false) => FaultConfig { inline_bytes_max: limits::INLINE_BYTES_MAX, ..config },
        }
    }

    /// The same configuration with a greedy client and with queues that are full only because of it: no other client
    /// may be refused.
    fn with_greedy_client(self, random: &mut Random) -> FaultConfig {
        FaultConfig {
            has_greedy_client: true,
            threads: 1,
            writes_at_once: random.pick(&[1, 4]),
            answers_at_once: false,
            job_micros_max: 5_000,
            queue_max: random.pick(&[16, 256]),
            many_vms: false,
            many_points: false,
            many_convert: false,
            many_sealed: false,
            many_containers: false,
            containers_max: None,
            clients_hoard: false,
            buffers_bytes_max: limits::BUFFERS_BYTES_MAX,
            bounds: Bounds { delayed_bytes: limits::DELAYED_BYTES_MAX, ..self.bounds },
            descriptors_max: usize::MAX,
            window_bytes: 65_536,
            connections_max: 64,
            requests_max: 1 << 20,
            named_max: 16_384,
            anonymous_bytes_max: 20_000,
            inline_bytes_max: limits::INLINE_BYTES_MAX,
            ..self.with_good_workers()
        }
    }

    /// The same configuration with workers that are fast and never fail.
    fn with_good_workers(self) -> FaultConfig {
        FaultConfig {
            job_micros_max: self.job_micros_max.min(50_000),
            full_percent: 0,
            stuck_percent: 0,
            failed_percent: 0,
            handlers_hang_percent: 0,
            queue_max: 1000,
            ..self
        }
    }

    /// Whether a response may be `busy` for any reason.
    pub(super) fn is_busy_possible(&self) -> bool {
        self.full_percent > 0
            || self.stuck_percent > 0
            || self.failed_percent > 0
            || self.queue_max < 100 && !self.has_greedy_client
            || self.job_micros_max > 100_000
            || self.clients_hoard
    }

    /// Whether this client is the greedy one.
    pub(super) fn is_greedy(&self, client: usize) -> bool {
        self.has_greedy_client && client == 0
    }

    /// Whether a request that needs no job may be `busy`.
    pub(super) fn limits_requests(&self) -> bool {
        self.requests_max < 100 || self.named_max < 100 || self.bounds.delayed_bytes < 1 << 20
    }

    /// Whether the store may be slow or fail.
    pub(super) fn is_failure_possible(&self) -> bool {
        self.stuck_percent > 0 || self.failed_percent > 0 || self.job_micros_max > 100_000
    }
}
