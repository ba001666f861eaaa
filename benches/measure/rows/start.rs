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
    let whole = megabytes(Path::new(env!("CARGO_BIN_EXE_vmherd")));
    // In a folder of its own, where the next time finds it.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smallest");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--no-default-features", "--target-dir"])
        .arg(&folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .status();
    assert!(built.is_ok_and(|status| status.success()), "the smallest build can be made");
    let smallest = megabytes(&folder.join("release/vmherd"));
    let line = |figure: &str, megabytes: f64, wanted: f64| Line {
        figure: figure.into(),
        wanted: format!("≤ {wanted} MB"),
        measured: format!("{megabytes:.2} MB"),
        beside: String::new(),
        verdict: Verdict::exact(megabytes <= wanted),
    };
    vec![
        line("stripped program", whole, 4.0),
        line("stripped program, without default features", smallest, 1.5),
    ]
}

fn megabytes(program: &Path) -> f64 {
    fs::metadata(program).expect("it is built").len() as f64 / 1e6
}
