//! The time from start to first reply, and the size of the program.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::ROUNDS;
use super::ping::PING;
use super::seeded_store::SeededStore;
use crate::figures::{Line, Samples, Verdict};
use crate::process::{Cores, Folder, Server};

/// From the start of the process to its first answer, with a store of a thousand VMs beside it.
pub fn first_reply(cores: &Cores) -> Vec<Line> {
    let seeded = SeededStore::new(1000, 2);
    let redis_folder = Folder::new_data();
    let (mut own, mut redis) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let start = || Some(Server::start_vmherd(cores, &cores.server, &seeded.location, &[]));
        own.push(milliseconds_to_answer(start, PING).expect("it is installed"));
        let start = || Server::start_redis(cores, Some(redis_folder.path()));
        milliseconds_to_answer(start, "PING\r\n").into_iter().for_each(|ms| redis.push(ms));
    }
    let ratio = own.ratio(&redis);
    vec![Line {
        figure: "start to first reply, store of 1000 VMs".into(),
        wanted: "≤ 0.7 × redis-server, empty".into(),
        measured: format!("{own} ms"),
        beside: match redis.is_empty() {
            true => "redis-server is not installed".into(),
            false => format!("{:.2} × redis-server: {redis} ms", ratio.median()),
        },
        verdict: Verdict::at_most(0.7, &ratio),
    }]
}

fn milliseconds_to_answer(start: impl FnOnce() -> Option<Server>, request: &str) -> Option<f64> {
    let begin = Instant::now();
    let server = start()?;
    let mut stream = server.first_connection();
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("it answers");
    assert!(line.ends_with('\n'), "{} closed", server.name);
    Some(begin.elapsed().as_secs_f64() * 1e3)
}

/// The stripped programs.
pub fn sizes(_: &Cores) -> Vec<Line> {
    let whole = bytes_of(Path::new(env!("CARGO_BIN_EXE_vmherd")));
    let smallest = built(&["--no-default-features"], "vmherd");
    let plain = "sqlite,http,websocket";
    let without_sealed = built(&["--no-default-features", "--features", &format!("{plain},qemu")], "vmherd");
    let without_either = built(&["--no-default-features", "--features", plain], "vmherd");
    let embedding = built(&["--example", "minimal"], "examples/minimal");
    let megabytes = |bytes: u64| format!("{:.2} MB", bytes as f64 / 1e6);
    let line = |figure: &str, bytes: u64, wanted: u64| Line {
        figure: figure.into(),
        wanted: format!("≤ {} MB", wanted as f64 / 1e6),
        measured: megabytes(bytes),
        beside: String::new(),
        verdict: Verdict::exact(bytes <= wanted),
    };
    vec![
        line("stripped program", whole, 6_000_000),
        line("stripped program, without `sealed`", without_sealed, 5_500_000),
        line("stripped program, without `sealed` and `qemu`", without_either, 5_000_000),
        line("stripped program, without default features", smallest, 1_500_000),
        Line {
            figure: "stripped program that embeds a server: `examples/minimal`".into(),
            wanted: "< the daemon".into(),
            measured: megabytes(embedding),
            beside: format!("{embedding} B; the daemon {whole} B"),
            verdict: Verdict::exact(embedding < whole),
        },
    ]
}

/// Builds a `program` for release with further `arguments` for cargo; its bytes.
fn built(arguments: &[&str], program: &str) -> u64 {
    // In a folder of its own, where the next time finds it.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smallest");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--target-dir"])
        .arg(&folder)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .status();
    assert!(built.is_ok_and(|status| status.success()), "{program} can be built");
    bytes_of(&folder.join("release").join(program))
}

fn bytes_of(program: &Path) -> u64 {
    fs::metadata(program).expect("it is built").len()
}
