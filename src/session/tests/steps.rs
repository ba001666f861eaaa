//! One step takes a bounded number of bytes and items from the input, and writes a bounded number: the largest messages,
//! the most messages and the longest replies of each dialect in each framing.

use super::long::{TRANSPORTS, Transport};
use super::*;
use crate::clock::UnixSeconds;
use crate::ids::{SeriesId, VmId};
use crate::model::{
    Dialect, Disk, DiskOfVm, MetricKey, MetricValue, PeerEntry, Point, PointFilter, Series, Vm, VmName,
    VmPresence, VmShape,
};

/// Bytes of one read.
const READ: usize = limits::READ_CHUNK_BYTES;
/// Messages that one step may handle: the shortest of one read, until the shortest replies fill the output.
const HANDLED_MAX: usize = 3200;
/// Bytes that one step may write: a page of the longest rows, or the longest conversion.
const WRITTEN_MAX: usize = 2 << 20;
/// Bytes of a reply to a message that is not a request.
const ERROR_MAX: usize = 2 << 10;

/// A message of any size: its start, the part that is repeated, and its end.
struct Large {
    dialect: &'static str,
    start: &'static str,
    unit: &'static str,
    end: &'static str,
}

const LARGE: &[Large] = &[
    Large {
        dialect: "command, fields",
        start: "{\"command\":\"ping\",\"data\":{",
        unit: "\"a\":0,",
        end: "\"b\":0}}",
    },
    Large {
        dialect: "command, escapes",
        start: "{\"command\":\"ping\",\"data\":{",
        unit: "\"\\u0061\":0,",
        end: "\"b\":0}}",
    },
    Large {
        dialect: "command, points",
        start: "{\"command\":\"put\",\"data\":{\"points\":[",
        unit: "{\"key\":\"k\",\"value\":1},",
        end: "{\"key\":\"k\",\"value\":1}]}}",
    },
    Large {
        dialect: "command, brackets",
        start: "{\"command\":\"ping\",\"data\":[",
        unit: "[],",
        end: "[]]}",
    },
    Large {
        dialect: "action, disks",
        start: "{\"action\":\"add_vm\",\"ram\":1,\"disks\":[",
        unit: "1,",
        end: "1]}",
    },
    Large { dialect: "conversion", start: "{\"request_id\":1,\"data\":\"", unit: "e&&a&&1%%", end: "\"}" },
    Large {
        dialect: "conversion, escapes",
        start: "{\"request_id\":1,\"data\":\"",
        unit: "\\u00e9",
        end: "\"}",
    },
    Large { dialect: "none, brackets", start: "[", unit: "[],", end: "[]]" },
    Large { dialect: "none, text", start: "{\"", unit: "x", end: "\"}" },
];

impl Large {
    /// The longest of at most `bytes_max` bytes.
    fn text(&self, bytes_max: usize) -> String {
        let count = (bytes_max - self.start.len() - self.end.len()) / self.unit.len();
        format!("{}{}{}", self.start, self.unit.repeat(count), self.end)
    }
}

/// What one step has done.
struct Done {
    step: Step,
    /// Bytes of input that it has taken.
    taken: usize,
    /// Bytes of output that it has written.
    written: usize,
    /// Messages that it has handled completely.
    handled: usize,
    /// Those of them that were refused.
    refused: usize,
}

impl Bench {
    fn with_large_requests(transport: &Transport) -> Bench {
        let mut bench = Bench::of(transport);
        bench.rules.request_bytes_max_anonymous = limits::REQUEST_BYTES_MAX;
        bench.session.take_handled_inline();
        bench
    }

    fn measured(&mut self) -> Done {
        let (input, output) = (self.input.len(), self.output.len());
        let step = self.next();
        Done {
            step,
            taken: input - self.input.len(),
            written: self.output.len() - output,
            handled: usize::from(self.session.take_handled_inline()),
            refused: usize::from(self.session.take_refused()),
        }
    }
}

/// Sends `message` in reads of a connection, until the session has decoded it or passes it on to be decoded. Returns the
/// bytes of the text that was decoded in a step, or none.
#[track_caller]
fn decoded_at_once(transport: &Transport, message: &str, what: &str) -> Option<usize> {
    let mut bench = Bench::with_large_requests(transport);
    let sent = (transport.send)(message);
    let mut reads = sent.chunks(READ);
    loop {
        let done = bench.measured();
        assert!(done.handled <= 3, "{what}: {} of one message", done.handled);
        assert!(done.written <= ERROR_MAX, "{what}: {} bytes are written", done.written);
        match done.step {
            Step::NeedInput if done.refused == 0 => bench.input.push(reads.next().expect("it is whole")),
            Step::NeedInput | Step::Call(..) | Step::Ping => return Some(message.len()),
            Step::Decode(seq, text) => {
                assert_eq!(text.text.as_slice(), message.as_bytes(), "{what}");
                // The result costs little.
                let busy = Refusal { dialect: Dialect::Command, id: None, failure: Failure::Busy };
                bench.session.decoded(seq, Err(busy));
                let done = bench.measured();
                assert!(matches!(done.step, Step::NeedInput), "{what}: {:?}", done.step);
                assert!(done.taken == 0 && done.written <= ERROR_MAX, "{what}");
                return None;
            }
            step => panic!("{what}: {step:?}"),
        }
    }
}

#[test]
fn a_step_decodes_a_bounded_number_of_bytes_in_each_dialect_and_framing() {
    for transport in TRANSPORTS {
        for large in LARGE {
            let what = format!("{} over {}", large.dialect, transport.name);
            let inline = large.text(limits::INLINE_BYTES_MAX);
            assert!(inline.len() + large.unit.len() > limits::INLINE_BYTES_MAX, "{what}");
            let decoded = decoded_at_once(transport, &inline, &what);
            assert_eq!(decoded, Some(inline.len()), "{what}");
            for bytes in [limits::INLINE_BYTES_MAX + large.unit.len() + 1, limits::REQUEST_BYTES_MAX] {
                let long = large.text(bytes);
                assert!(long.len() > limits::INLINE_BYTES_MAX, "{what}");
                assert_eq!(decoded_at_once(transport, &long, &what), None, "{what}, {} bytes", long.len());
            }
        }
    }
}

/// The shortest messages, and those with long replies, that a session handles without its caller.
fn short_messages() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let messages = [
        ("raw JSON", "arrays", text("[]")),
        ("raw JSON", "objects", text("{}")),
        ("raw JSON", "stray bytes", text("[]x\n")),
        ("raw JSON", "unknown commands", text("{\"command\":1}")),
        ("text", "bad lines", text("x\n")),
        ("text", "blank lines", text(&format!("x{}", "\n".repeat(100)))),
        #[cfg(feature = "http")]
        ("HTTP", "a page", text("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")),
        #[cfg(feature = "http")]
        ("HTTP", "methods", text("OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n")),
        #[cfg(feature = "http")]
        ("HTTP", "empty bodies", text("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")),
        #[cfg(feature = "http")]
        ("HTTP", "bad bodies", text("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n[]")),
        #[cfg(feature = "websocket")]
        ("WebSocket", "pings", long::frame(0x89, b"")),
        #[cfg(feature = "websocket")]
        ("WebSocket", "long pings", long::frame(0x89, &[b'x'; 125])),
        #[cfg(feature = "websocket")]
        ("WebSocket", "pongs", long::frame(0x8a, b"")),
        #[cfg(feature = "websocket")]
        ("WebSocket", "arrays", long::frame(0x81, b"[]")),
        #[cfg(feature = "websocket")]
        ("WebSocket", "unknown commands", long::frame(0x81, b"{\"command\":1}")),
    ];
    messages.into()
}

#[test]
fn a_step_handles_a_bounded_number_of_messages_in_each_framing() {
    const READS: usize = 4;
    for (framing, what, message) in short_messages() {
        let transport = TRANSPORTS.iter().find(|transport| transport.name == framing);
        let mut bench = Bench::with_large_requests(transport.unwrap_or(&TRANSPORTS[0]));
        let all: Vec<u8> = message.iter().copied().cycle().take(READS * READ).collect();
        let (mut reads, mut handled, mut steps) = (all.chunks(READ), 0, 0);
        loop {
            let done = bench.measured();
            (handled, steps) = (handled + done.handled, steps + 1);
            assert!(done.taken <= READ + message.len(), "{framing}, {what}: {} bytes taken", done.taken);
            assert!(done.handled <= HANDLED_MAX, "{framing}, {what}: {} at once", done.handled);
            let most = limits::OUTPUT_BYTES_PAUSE + ERROR_MAX;
            assert!(bench.output.len() <= most, "{framing}, {what}: {} bytes of output", bench.output.len());
            match done.step {
                Step::NeedInput => match reads.next() {
                    Some(read) => bench.input.push(read),
                    None => break,
                },
                // The caller sends the output.
                Step::Blocked => bench.output.clear(),
                step => panic!("{framing}, {what}: {step:?}"),
            }
        }
        assert!(handled >= all.len() / message.len(), "{framing}, {what}: {handled} handled");
        assert!(steps >= READS, "{framing}, {what}: {steps} steps");
    }
}

#[test]
fn a_step_takes_a_bounded_number_of_points_from_lines_of_text() {
    const LINE: &str = "put k 1 1\n";
    let mut bench = Bench::with_large_requests(&TRANSPORTS[0]);
    let all: Vec<u8> = LINE.bytes().cycle().take(4 * READ).collect();
    let (mut reads, mut points) = (all.chunks(READ), 0);
    loop {
        let done = bench.measured();
        assert!(done.taken <= READ + LINE.len(), "{} bytes taken", done.taken);
        match done.step {
            Step::Call(head, request) => {
                let seq = bench.session.open(head);
                let count = request.reply_count();
                assert!(count <= limits::POINTS_PER_REQUEST_MAX && count <= READ / LINE.len() + 1, "{count}");
                points += count;
                bench.answer_with(seq, &Answer::Put { refused: Vec::new() });
                assert!(bench.output.len() <= count * "ok\n\n".len());
                bench.output.clear();
            }
            Step::NeedInput => match reads.next() {
                Some(read) => bench.input.push(read),
                None => break,
            },
            step => panic!("{step:?}"),
        }
    }
    assert_eq!(points, all.len() / LINE.len());
}

/// The longest name, which needs escapes throughout.
fn name() -> VmName {
    VmName::from_store(&"\"".repeat(limits::VM_NAME_BYTES_MAX))
}

/// A VM with the most disks.
fn vm() -> Vm {
    let disk = |id| Disk { id: DiskId(i64::MAX - id), size_gib: limits::DISK_GIB_MAX };
    let shape = VmShape { ram_mib: limits::RAM_MIB_MAX, cpus: limits::CPUS_MAX };
    let disks = (0..limits::DISKS_PER_VM_MAX as i64).map(disk).collect();
    Vm {
        id: VmId(i64::MAX),
        name: name(),
        shape,
        has_password: true,
        is_managed: false,
        last_seen: None,
        last_address: None,
        disks,
    }
}

/// The longest pages: the request, the list, and its items.
fn longest_pages() -> Vec<(&'static str, CommandName, Query, Items)> {
    let disk = DiskOfVm { disk: vm().disks[0], vm_id: VmId(i64::MAX), vm_name: name() };
    let address = std::net::Ipv6Addr::from([0xff; 16]).into();
    let peer =
        PeerEntry { peer: Peer::Tcp(address, u16::MAX), connected_since: UnixSeconds(i64::MIN), vm: None };
    let point =
        Point { timestamp: i64::MIN, value: MetricValue::new(-f64::MIN_POSITIVE).expect("it is finite") };
    let key = MetricKey::from_store(&"\"".repeat(limits::METRIC_KEY_BYTES_MAX));
    let series = |id| Series { id: SeriesId(id), key: key.clone(), points: vec![point] };
    let points = Items::Points((0..limits::POINTS_PER_PAGE_MAX as i64).map(series).collect());
    let (rows, all_points) = (limits::PAGE_ROWS_MAX, Query::Points(PointFilter::default()));
    let small_vms = Items::Vms(vec![Vm { disks: Vec::new(), ..vm() }; rows]);
    let small_vm = Vm { disks: Vec::new(), ..vm() };
    let observed = |addresses| VmPresence {
        connected_since: Some(UnixSeconds(i64::MIN)),
        last_seen: Some(UnixSeconds(i64::MIN)),
        last_address: None,
        peers: vec![peer.peer; addresses],
    };
    let of_vm = PeerEntry { vm: Some(small_vm.clone()), ..peer.clone() };
    let observed_vms = vec![(small_vm, observed(limits::OBSERVED_ADDRESSES_MAX)); limits::OBSERVED_ROWS_MAX];
    let observed_peers = vec![(of_vm, observed(0)); rows];
    let lists = [
        (r#"{"command":"list","data":{"list_type":"all_vms"}}"#, List::AllVms, Items::Vms(vec![vm()])),
        (r#"{"command":"list","data":{"list_type":"all_vms"}}"#, List::AllVms, small_vms.clone()),
        (
            r#"{"command":"list","data":{"list_type":"all_disks"}}"#,
            List::AllDisks,
            Items::Disks(vec![disk.clone(); rows]),
        ),
        (
            r#"{"command":"list","data":{"list_type":"active_vms"}}"#,
            List::ActiveVms,
            Items::Peers(vec![peer; rows]),
        ),
        (
            r#"{"command":"list","data":{"list_type":"all_vms"}}"#,
            List::AllVms,
            Items::ObservedVms(observed_vms),
        ),
        (
            r#"{"command":"list","data":{"list_type":"active_vms"}}"#,
            List::ActiveVms,
            Items::ObservedPeers(observed_peers),
        ),
        (r#"{"action":"list_all_vms"}"#, List::AllVms, Items::Vms(vec![vm()])),
        (r#"{"action":"list_all_vms"}"#, List::AllVms, small_vms),
        (r#"{"action":"list_all_disks"}"#, List::AllDisks, Items::Disks(vec![disk; rows])),
    ];
    let lists = lists.map(|(request, list, items)| {
        let is_action = request.contains("action");
        let command = if is_action { CommandName::ActionList } else { CommandName::List };
        (request, command, Query::List(list), items)
    });
    let gets = [r#"{"command":"get","data":{"key":"*"}}"#, "get *\n"]
        .map(|request| (request, CommandName::Get, all_points.clone(), points.clone()));
    lists.into_iter().chain(gets).collect()
}

/// Each page is written when it comes, and the next is not asked for before the client has taken it.
#[test]
fn a_step_writes_one_page_in_each_dialect_and_framing() {
    const PAGES: usize = 3;
    for transport in TRANSPORTS {
        for (request, command, query, items) in longest_pages() {
            let is_text = !request.starts_with('{');
            if is_text && transport.name != "raw JSON" {
                continue;
            }
            let what = format!("{request} over {}", transport.name);
            let mut bench = Bench::with_large_requests(transport);
            let sent = if is_text { request.as_bytes().to_vec() } else { (transport.send)(request) };
            bench.input.push(&sent);
            let (seq, name) = bench.call();
            assert_eq!(name, command, "{what}");
            for number in 1..=PAGES {
                let next = (number < PAGES).then_some(Cursor::AfterVm(VmId(1)));
                let (query, caller) = (query.clone(), Caller::default());
                let page = Page { listing: Listing { command, query, caller }, items: items.clone(), next };
                assert!(bench.session.complete_page(seq, &page, &mut bench.output, &bench.date));
                let written = bench.output.len();
                assert!(
                    (limits::OUTPUT_BYTES_PAUSE / 4..=WRITTEN_MAX).contains(&written),
                    "{what}: {written} bytes"
                );
                if written >= limits::OUTPUT_BYTES_PAUSE {
                    bench.is_blocked();
                }
                bench.output.clear();
                let step = bench.next();
                let is_asked = matches!(step, Step::NextPage(..));
                assert!(is_asked == next.is_some(), "{what}, page {number}: {step:?}");
            }
        }
    }
}

#[test]
fn a_step_writes_one_conversion_in_each_framing() {
    const LENGTH: usize = limits::REQUEST_BYTES_MAX;
    for transport in TRANSPORTS {
        let mut bench = Bench::with_large_requests(transport);
        for id in 1..=2 {
            bench.input.push(&(transport.send)(&format!("{{\"request_id\":{id},\"data\":\"e&&a&&1\"}}")));
        }
        let (first, _) = bench.call();
        bench.answer_with(first, &Answer::Converted("x".repeat(LENGTH)));
        let written = bench.output.len();
        assert!((LENGTH..=WRITTEN_MAX).contains(&written), "{}: {written} bytes", transport.name);
        // Nothing else is done before the client has taken it.
        bench.is_blocked();
        bench.output.clear();
        bench.call();
    }
}
