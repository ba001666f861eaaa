//! `make bench`: the daemon's speed and resource use, beside the limits of the machine and other servers.
//!
//! Every server is a process of its own on a core of its own, the load generator on another. Candidates take turns within
//! each round, and the figures are medians of the rounds and of the rounds' ratios, so that other load on the machine
//! slows down all of them. All files are removed in the end.

// No crate imports a program.
#![allow(unreachable_pub, missing_docs)]

#[path = "../../tests/common/chromium.rs"]
mod chromium;
#[path = "../../tests/common/codec.rs"]
mod codec;
mod count;
mod echo;
mod embedded;
mod figures;
mod generator;
#[path = "../../tests/common/guest.rs"]
mod guest;
mod load;
mod meter;
mod points;
mod process;
mod rows;
mod sys;
mod websocket;

use std::env;
use std::process::ExitCode;

use figures::Line;
use load::Load;
use process::Cores;
use vmherd::internals::sys::process::raise_descriptor_limit;

fn main() -> ExitCode {
    // Cargo passes --bench to every benchmark.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["echo", address, answering] => {
            raise_descriptor_limit().expect("a process may raise its limit");
            echo::serve(address.parse().expect("an address"), answering).expect("sockets work");
        }
        [part @ ("embedded" | "embedded-with-callbacks"), address, state_dir] => {
            let has_callbacks = *part == "embedded-with-callbacks";
            let address = address.parse().expect("an address");
            embedded::serve(address, state_dir.as_ref(), has_callbacks).expect("it serves");
        }
        ["load", load] => {
            raise_descriptor_limit().expect("a process may raise its limit");
            println!("{}", Load::from_json(load).run().to_line());
        }
        ["count", names @ ..] => count::run(names),
        names if names.iter().all(|name| rows::ROWS.iter().any(|row| row.name == *name)) => run(names),
        _ => {
            let names: Vec<&str> = rows::ROWS.iter().map(|row| row.name).collect();
            eprintln!("rows are {}", names.join(", "));
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Runs the rows of these names, or all.
fn run(names: &[&str]) {
    let is_first = sys::raise_priority();
    let cores = Cores::shared_out();
    let machine = machine(&cores, is_first);
    let missing = rows::missing();
    println!("{machine}\n{missing}");
    let mut lines: Vec<Line> = Vec::new();
    for row in rows::ROWS.iter().filter(|row| names.is_empty() || names.contains(&row.name)) {
        eprintln!("{} …", row.name);
        lines.extend((row.run)(&cores));
    }
    let command = match names {
        [] => "make bench".to_owned(),
        names => format!("cargo bench --bench measure -- {}", names.join(" ")),
    };
    println!(
        "\nMeasured with `{command}` on {}, {machine}\n\n{}\n{missing}",
        process::today(),
        figures::table(&lines)
    );
}

/// The machine, in words.
fn machine(cores: &Cores, is_first: bool) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name"));
    let processor =
        processor.map_or("a processor without a name", |name| name.trim_start_matches([' ', '\t', ':']));
    let kernel = read("/proc/sys/kernel/osrelease");
    let parted = match cores.server == cores.generator {
        true => "server and generator on the same core, since there is one",
        false => "server and generator on one each",
    };
    let priority = if is_first { "at raised priority" } else { "at ordinary priority" };
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?").to_owned();
    format!(
        "{processor}, {} cores, {parted}, Linux {}, {priority}, load before it {load}; medians of {} rounds, \
         ± half of what is between the best and the worst.",
        cores.all.len(),
        kernel.trim(),
        rows::ROUNDS,
    )
}
