//! Vectors of each generation, computed by another implementation (Python's `cryptography`), and what breaks a rule.

use super::*;
use crate::framing::replay::replay_every_split;
use message::Generation::{First, Second, Third};

/// What happens on a connection, besides the output.
#[derive(PartialEq, Debug)]
enum Happened {
    /// This block was to be decrypted.
    Exchange(usize),
    Request(String),
    Answered,
    Failed,
    Refused,
    /// The server waits for more input, in this step.
    Waits(Option<u32>),
}

const CLIENT_KEY: &str = include_str!("../../../tests/common/client_key.pem");
const SERVER_KEY: &str = "the server's key\n";
/// The server's block, and the client's.
const BLOCK: [u8; 32] = [b'B'; 32];
const REQUEST: &str = r#"{"verb": "STAT", "parameters": {}}"#;
const ANSWER: &str = r#"{"success":true,"message":"OK","data":{"uptime":5}}"#;

const FIRST_REQUEST: &str =
    "d48af5eaee734b9c45e95cc1b8be4604fc2df12c2e1c37ae97b2b9172185746808f3456c91deeb101a3c4ea2c4150751";
const FIRST_ANSWER: &str = "2dd00dd75f1462db8cb24b6461884e1385de81a8f33f9a852461aacf1c1e4b84\
    242dada7663479abdd8e152689c0dea80adcb000797997be45668785510c4b31";
const NEXT_IV: &str = "404142434445464748494a4b4c4d4e4f";
const LATER_ANSWER: &str = "1f6b7ebf1496bbd9f2e2ff0a7f5499cde6768995c6d1f61d3bb62d73dbe607ac\
    e71b9049f6ff1be9b3165d0022f2af173e5677ff6d062ed1b29a01edd1b76fd3303132333435363738393a3b3c3d3e3f";
const THIRD_LENGTHS: [&str; 2] = ["d323abba011b7a098a5627c35ef61690", "6b0c8d9f68a85d2b73be04be09d546b4"];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The keys of all connections here: 0, 1, 2, …
fn keys() -> MessageKeys {
    MessageKeys::from_bytes(&std::array::from_fn(|index| index as u8))
}

/// What the server does with `chunks`.
fn run(chunks: &[&[u8]], first_generation: bool, answer: &str) -> (Vec<u8>, Vec<Happened>) {
    let (mut sealed, mut input, mut output) = (Sealed::default(), Buffer::new(), Buffer::new());
    let mut happened = Vec::new();
    for chunk in chunks {
        input.push(chunk);
        happened.extend(exchange(&mut sealed, &mut input, &mut output, first_generation, answer));
    }
    happened.push(Happened::Waits(sealed.awaited()));
    (output.as_slice().to_vec(), happened)
}

/// What the server does with its input.
fn exchange(
    sealed: &mut Sealed,
    input: &mut Buffer,
    output: &mut Buffer,
    first_generation: bool,
    answer: &str,
) -> Vec<Happened> {
    let mut happened = Vec::new();
    let rules = SealedRules {
        public_key_pem: SERVER_KEY,
        block_bytes: BLOCK.len(),
        first_generation,
        request_bytes_max: 4096,
    };
    loop {
        happened.push(match sealed.next(input, output, rules) {
            SealedEvent::NeedMore => return happened,
            SealedEvent::Step => continue,
            SealedEvent::Exchange(key, block) => {
                assert_eq!(key.block_bytes(), 256);
                sealed.exchanged(Exchanged { block: BLOCK.into(), keys: Box::new(keys()) }, output);
                Happened::Exchange(block.len())
            }
            SealedEvent::Request(text) => {
                assert!(sealed.awaited().is_none());
                sealed.answer(answer.as_bytes().to_vec(), output);
                assert!(sealed.owes_answer());
                Happened::Request(String::from_utf8(text).unwrap())
            }
            SealedEvent::Answered => Happened::Answered,
            SealedEvent::Failed => Happened::Failed,
            SealedEvent::Refused => Happened::Refused,
        });
    }
}

/// What a client sends before its request, and what it gets.
fn handshake() -> (Vec<u8>, Vec<u8>) {
    let length = length::write(CLIENT_KEY.len());
    let sent = [&length, CLIENT_KEY.as_bytes(), b"11", &BLOCK, b"1"].concat();
    let received = [b"11", &b"17======"[..], SERVER_KEY.as_bytes(), b"1", &BLOCK].concat();
    (sent, received)
}

/// A request of `generation` as a client sends it: its length and its body.
fn request(generation: Generation, text: &str) -> [Vec<u8>; 2] {
    let keys = Box::new(MessageKeys { next_iv: bytes(NEXT_IV).try_into().unwrap(), ..keys() });
    let iv = keys.iv;
    let (length, body) = message::seal(&OpenRequest { keys, generation, iv }, text.into());
    [length, body]
}

#[test]
fn every_generation_is_recognized_and_answered_in_kind() {
    let (sent, received) = handshake();
    for (generation, length, body, answer_length, answer) in [
        (First, b"48======".to_vec(), bytes(FIRST_REQUEST), b"64======".to_vec(), FIRST_ANSWER),
        (
            Second,
            b"64======".to_vec(),
            bytes(&[FIRST_REQUEST, NEXT_IV].concat()),
            b"80======".to_vec(),
            LATER_ANSWER,
        ),
        (
            Third,
            bytes(THIRD_LENGTHS[0]),
            bytes(&[FIRST_REQUEST, NEXT_IV].concat()),
            bytes(THIRD_LENGTHS[1]),
            LATER_ANSWER,
        ),
    ] {
        assert_eq!(request(generation, REQUEST), [length.clone(), body.clone()], "{generation:?}");
        let stream = [&sent[..], &length, &body, b"1"].concat();
        let (output, happened) = replay_every_split(&stream, |chunks| run(chunks, true, ANSWER));
        assert_eq!(output, [&received[..], b"1", &answer_length, &bytes(answer)].concat(), "{generation:?}");
        let request = Happened::Request(REQUEST.into());
        assert_eq!(happened, [Happened::Exchange(32), request, Happened::Answered, Happened::Waits(None)]);
    }
}

#[test]
fn requests_of_every_length_are_recognized() {
    for generation in [First, Second, Third] {
        for blanks in 0..40 {
            let text = format!("{{\"verb\": \"STAT\",{}\"parameters\": {{}}}}", " ".repeat(blanks));
            let [length, body] = request(generation, &text);
            let stream = [&handshake().0[..], &length, &body].concat();
            let (_, happened) = run(&[&stream], true, ANSWER);
            assert_eq!(happened[1], Happened::Request(text), "{generation:?}, {blanks}");
        }
    }
}

#[test]
fn the_first_generation_can_be_refused() {
    for (generation, is_accepted) in [(First, false), (Second, true), (Third, true)] {
        let [length, body] = request(generation, REQUEST);
        let stream = [&handshake().0[..], &length, &body].concat();
        let (_, happened) = replay_every_split(&stream, |chunks| run(chunks, false, ANSWER));
        assert_eq!(matches!(happened[1], Happened::Request(_)), is_accepted, "{generation:?}");
    }
}

/// Each row is refused with `0`, and whatever follows is not read.
#[test]
fn what_breaks_a_rule_is_refused() {
    let (sent, received) = handshake();
    let [length, body] = request(Second, REQUEST);
    let key_length = length::write(CLIENT_KEY.len());
    let changed = |body: &[u8], at: usize| {
        let mut body = body.to_vec();
        body[at] ^= 1;
        body
    };
    let sealed_length = |text: &str| {
        let mut block = text.as_bytes().to_vec();
        keys().key.encrypt(keys().iv, &mut block);
        block
    };
    let no_json = |generation| request(generation, &REQUEST[1..]).concat();
    let before = &sent[..];
    let short_key = CLIENT_KEY.replace("MIIB", "AAAA");
    let cases: &[(&str, Vec<u8>, &[u8])] = &[
        ("a length of zero", b"0=======".to_vec(), b""),
        ("no number", b"GET / HT".to_vec(), b""),
        ("a negative length", b"-800====".to_vec(), b""),
        ("a key that is too long", b"2049====".to_vec(), b""),
        ("no key", [&key_length[..], &vec![b'x'; CLIENT_KEY.len()]].concat(), b"1"),
        ("a key that is not RSA", [&key_length[..], short_key.as_bytes()].concat(), b"1"),
        ("a request of length zero", [before, b"0======="].concat(), &received),
        ("a negative length of a request", [before, b"-1======"].concat(), &received),
        ("a length that is no number", [before, b"abc====="].concat(), &received),
        ("half a block", [before, b"40======"].concat(), &received),
        ("a request that is too long", [before, b"4112===="].concat(), &received),
        ("an encrypted length that is not a number", [before, &sealed_length("6x")].concat(), &received),
        ("an encrypted length of zero", [before, &sealed_length("0")].concat(), &received),
        ("an encrypted length that is too long", [before, &sealed_length("4112")].concat(), &received),
        ("an encrypted length of nine digits", [before, &sealed_length("000000064")].concat(), &received),
        (
            "an encrypted length with a wrong padding",
            [before, &changed(&bytes(THIRD_LENGTHS[0]), 15)].concat(),
            &received,
        ),
        ("a wrong padding", [before, &length, &changed(&body, 47)].concat(), &[&received[..], b"1"].concat()),
        ("no JSON in the first", [before, &no_json(First)].concat(), &[&received[..], b"1"].concat()),
        ("no JSON in the second", [before, &no_json(Second)].concat(), &[&received[..], b"1"].concat()),
        ("no JSON in the third", [before, &no_json(Third)].concat(), &[&received[..], b"1"].concat()),
    ];
    for (name, stream, received) in cases {
        let stream = [&stream[..], b"1"].concat();
        let (output, happened) = replay_every_split(&stream, |chunks| run(chunks, true, ANSWER));
        assert_eq!(output, [received, &b"0"[..]].concat(), "{name}");
        assert_eq!(happened[happened.len() - 2..], [Happened::Failed, Happened::Waits(None)], "{name}");
    }
}

#[test]
fn a_client_may_refuse_each_step() {
    let key_length = length::write(CLIENT_KEY.len());
    let [length, body] = request(Third, REQUEST);
    let (sent, _) = handshake();
    let before_key = [&key_length[..], CLIENT_KEY.as_bytes()].concat();
    for stream in [
        before_key.clone(),
        [&before_key[..], b"1"].concat(),
        sent[..sent.len() - 1].to_vec(),
        [&sent[..], &length, &body].concat(),
    ] {
        let (accepted, _) = run(&[&stream], true, ANSWER);
        for refusal in [b"0", b"x"] {
            let (output, happened) = run(&[&stream, refusal], true, ANSWER);
            assert_eq!(output, accepted, "nothing more is sent");
            assert_eq!(happened[happened.len() - 2..], [Happened::Refused, Happened::Waits(None)]);
        }
    }
}

#[test]
fn a_failure_before_the_request_is_a_refusal_and_after_the_answer_nothing() {
    let (mut sealed, mut output) = (Sealed::default(), Buffer::new());
    sealed.answer(b"timed out".to_vec(), &mut output);
    sealed.answer(b"once more".to_vec(), &mut output);
    assert_eq!(output.as_slice(), b"0");
}

/// Its container, if the answer is about one, is destroyed.
#[test]
fn an_answer_that_is_not_acknowledged_stays_owed() {
    let [length, body] = request(Third, REQUEST);
    let stream = [&handshake().0[..], &length, &body].concat();
    let (mut input, mut output) = (Buffer::new(), Buffer::new());
    for (last, is_owed) in [(&b"0"[..], true), (b"", true), (b"1", false)] {
        let mut sealed = Sealed::default();
        input.push(&stream);
        exchange(&mut sealed, &mut input, &mut output, true, ANSWER);
        assert!(sealed.owes_answer() && !sealed.has_ended());
        input.push(last);
        exchange(&mut sealed, &mut input, &mut output, true, ANSWER);
        sealed.end();
        assert_eq!((sealed.owes_answer(), sealed.has_ended()), (is_owed, true), "{}", last.escape_ascii());
    }
}

#[test]
fn steps_are_numbered() {
    let (sent, _) = handshake();
    let mut steps = Vec::new();
    for end in 0..sent.len() {
        let (_, happened) = run(&[&sent[..end]], true, ANSWER);
        let Some(Happened::Waits(Some(step))) = happened.last() else { panic!("{happened:?}") };
        steps.push(*step);
    }
    steps.dedup();
    assert_eq!(steps, [0, 1, 2, 3, 4, 5]);
}
