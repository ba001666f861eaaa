//! Sessions of clients whose addresses are refused.

use super::*;

fn refused() -> Bench {
    Bench { session: Session::refused(), ..Bench::new() }
}

/// The ending after `bytes`, and the output; `None`: the session waits for more.
fn run(chunks: &[&[u8]]) -> (Option<Ending>, Vec<u8>) {
    let mut bench = refused();
    let mut ending = None;
    for chunk in chunks {
        assert_eq!(ending, None, "it ends before {}", chunk.escape_ascii());
        bench.input.push(chunk);
        ending = match bench.next() {
            Step::Finished(ending) => Some(ending),
            Step::NeedInput => None,
            step => panic!("a refused client gets {step:?}"),
        };
    }
    (ending, bench.output.as_slice().to_vec())
}

const SILENT: (Option<Ending>, Vec<u8>) = (Some(Ending::Close), Vec::new());

#[test]
fn the_first_bytes_of_other_framings_end_the_session_without_a_reply() {
    for bytes in [
        &b"{"[..],
        b" [",
        b"put",
        b"\x16\x03",
        b"SSH-",
        b"PROXY ",
        b"PRI * HTTP/2",
        b"\0\r\nQUIT\n",
        b"800=====",
        b"GET x",
        #[cfg(not(feature = "http"))]
        b"GET /",
    ] {
        assert_eq!(run(&[bytes]), SILENT, "{}", bytes.escape_ascii());
    }
    for bytes in [&b""[..], b" \r\n", b"SSHX", b"GET"] {
        assert_eq!(run(&[bytes]), (None, Vec::new()), "{}", bytes.escape_ascii());
    }
}

#[cfg(feature = "http")]
#[test]
fn a_whole_head_of_http_is_answered_however_it_is_split() {
    let body = "{\"success\":false,\"message\":\"Refused request\",\"data\":{}}\n";
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        " \r\nPOST http://host/stat HTTP/1.0\r\nHost: foreign\r\nContent-Length: 9\r\n\r\n",
        "OPTIONS * HTTP/9.9\r\nUpgrade: websocket\r\nX:\x01\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let bytes = request.as_bytes();
        let (ending, output) = run(&[bytes]);
        let output = String::from_utf8(output).expect("text");
        let (head, found) = output.split_once("\r\n\r\n").expect("a head");
        assert_eq!(ending, Some(Ending::Linger), "{request}");
        assert_eq!(found, if request.starts_with("HEAD") { "" } else { body }, "{request}");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\nConnection: close"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}");
        let whole = (ending, output.into_bytes());
        assert_eq!(run(&bytes.chunks(1).collect::<Vec<_>>()), whole, "{request}");
        for split in 1..bytes.len() {
            assert_eq!(run(&[&bytes[..split], &bytes[split..]]), whole, "{request} at {split}");
        }
    }
    // Nothing after the head counts.
    let (ending, output) = run(&[b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n{\"command\": \"ping\"}"]);
    assert_eq!((ending, output.ends_with(body.as_bytes())), (Some(Ending::Linger), true));
    assert_eq!(String::from_utf8_lossy(&output).matches("HTTP/1.1").count(), 1);
}

#[cfg(feature = "http")]
#[test]
fn a_head_that_other_clients_could_not_send_is_answered_the_same() {
    for head in [
        "GET / HTTP/1.1\nHost: a\n\n".into(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(limits::HTTP_HEAD_BYTES_MAX)),
    ] {
        let (ending, output) = run(&[head.as_bytes()]);
        assert_eq!(ending, Some(Ending::Linger));
        assert!(String::from_utf8_lossy(&output).contains("Refused request"));
    }
}

#[test]
fn input_that_does_not_get_that_far_has_the_time_of_a_request_and_no_reply() {
    for bytes in ["", "SSHX", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        if bytes.contains('/') && !cfg!(feature = "http") {
            continue;
        }
        let mut bench = refused();
        bench.say(bytes);
        assert_eq!(bench.session.deadline(&bench.rules), Some(bench.now + 10 * SECOND), "{bytes}");
        bench.now = bench.now + 9 * SECOND;
        assert!(!bench.session.expire(&bench.rules, bench.now), "{bytes}");
        bench.now = bench.now + SECOND;
        assert!(bench.session.expire(&bench.rules, bench.now), "{bytes}");
        bench.ends(Ending::Linger);
        assert!(bench.output.is_empty(), "{bytes}");
        // The end of the input.
        let mut bench = refused();
        bench.say(bytes);
        bench.session.end_input();
        bench.ends(Ending::Close);
        assert!(bench.output.is_empty(), "{bytes}");
    }
}

#[test]
fn a_stop_or_a_lack_of_memory_ends_the_session_without_a_reply() {
    let mut bench = refused();
    bench.say("SSHX");
    bench.session.begin_drain(&bench.input);
    bench.ends(Ending::Linger);
    let mut bench_of_memory = refused();
    bench_of_memory.say("SSHX");
    assert!(bench_of_memory.session.refuse_for_room(&mut bench_of_memory.input));
    bench_of_memory.ends(Ending::Linger);
    assert!(bench.output.is_empty() && bench_of_memory.output.is_empty());
}
