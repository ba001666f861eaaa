//! Raw JSON that arrives whole is read in one pass, and cut into messages if it arrives in pieces: with the same result.

use super::*;

/// What a session does with a stream.
#[derive(PartialEq, Debug, Default)]
struct Seen {
    steps: Vec<String>,
    replies: Vec<String>,
    /// The number of the message that is incomplete at the end.
    incomplete: Option<u32>,
}

fn replay<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Seen {
    let (mut bench, mut seen) = (Bench::new(), Seen::default());
    bench.rules.inline_bytes_max = 100;
    bench.rules.request_bytes_max_anonymous = 150;
    for chunk in chunks {
        bench.input.push(chunk);
        loop {
            match bench.next() {
                Step::NeedInput => break,
                Step::Ping => {
                    seen.steps.push(format!("{:?}", Request::ping()));
                    bench.session.pong(&PONG, &mut bench.output, &bench.date);
                }
                Step::Call(head, request) => {
                    seen.steps.push(format!("{request:?}"));
                    bench.session.answer(head, &PONG, &mut bench.output, &bench.date);
                }
                Step::Decode(seq, message) => {
                    seen.steps.push(format!("long: {}", message.text.as_slice().escape_ascii()));
                    bench.session.decoded(seq, Err(Failure::Busy.into()));
                }
                Step::Finished(ending) => {
                    seen.steps.push(format!("{ending:?}"));
                    seen.replies.extend(bench.replies());
                    return seen;
                }
                step => panic!("{step:?} for {}", chunk.escape_ascii()),
            }
        }
        seen.replies.extend(bench.replies());
    }
    seen.incomplete = bench.session.codec.incomplete_message();
    seen
}

#[test]
fn a_stream_means_the_same_however_it_arrives() {
    let of_length = |length: usize| format!("{{\"command\":\"ping\",\"x\":\"{}\"}}", "}".repeat(length - 25));
    assert_eq!(of_length(100).len(), 100);
    let (inline, long, largest, larger) = (of_length(100), of_length(101), of_length(150), of_length(151));
    let messages: [&str; 16] = [
        PING,
        "{\"command\":\"ping\",\"data\":{\"token\":null}}",
        "{\"command\":\"update\",\"data\":{\"ram\":0}}",
        "{\"request_id\":7,\"command\":\"unknown\"}",
        "{\"request_id\":[],\"command\":\"ping\"}",
        "{\"command\":\"p\\u0069ng\",\"d\\u0061ta\":{}}",
        "{\"command\":\"ping\",\"command\":\"ping\"}",
        "{\"command\":\"ping\",}",
        "{\"command\":\"\t\"}",
        "{}",
        "[{}]",
        "stray {}\n",
        " \r\n\t",
        &inline,
        &long,
        &largest,
    ];
    for first in messages {
        for second in messages {
            for last in ["", PING, "{\"command\":", "{\"command\":\"ping\"", "x", &larger, &larger[..150]] {
                // The bytes that select the framing come first.
                let stream = format!("{PING}{first}{second}\n{last}");
                let whole = replay([stream.as_bytes()].into_iter());
                assert_eq!(replay(stream.as_bytes().chunks(1)), whole, "{stream}");
                assert_eq!(replay(stream.as_bytes().chunks(45)), whole, "{stream}");
            }
        }
    }
}
