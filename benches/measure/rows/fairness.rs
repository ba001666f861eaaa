//! How long one client waits while others request more than the daemon can do.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::auth::{AUTHENTICATE, KNOWN, SUCCESS};
use super::ping::PING;
use super::seeded_store::{SeededStore, TOKEN};
use super::stored::UPDATE_REQUEST;
use super::{ROUNDS, TIME, load};
use crate::figures::{Line, Samples, Verdict, short};
use crate::load::{Load, PUT};
use crate::process::{Cores, Server};

const GUESS: &str =
    "{\"command\": \"authenticate\", \"data\": {\"vm_id\": \"known\", \"password\": \"securePass124\"}}\n";
const LIST: &str = "{\"action\": \"list_all_vms\"}\n";
/// Longer than the measurements beside it.
const LONG: Duration = Duration::from_secs(120);
/// Processor time after which a server is busy.
const BUSY: Duration = Duration::from_millis(300);
/// How long another client waits, at most, in microseconds.
const WAIT_US_MAX: f64 = 250_000.0;

/// Updates by token beside a hundred clients that list all VMs.
pub fn lookups(cores: &Cores) -> Vec<Line> {
    let seeded = SeededStore::new(20_000, 1);
    let server = Server::vmherd_on(cores, &cores.all, &seeded.location, &[]);
    let prelude = Some(PING.to_owned());
    let lists = Load { time: LONG, prelude, connections: 100, ..load(&server, LIST, "{") };
    vec![beside(cores, &server, &update(&server), &lists, "100 clients that list 20 000 VMs")]
}

/// Updates beside forty clients that put a thousand points at a time.
pub fn updates(cores: &Cores) -> Vec<Line> {
    let seeded = SeededStore::new(1000, 1);
    let server = Server::vmherd_on(cores, &cores.all, &seeded.location, &[]);
    let puts = Load { time: LONG, connections: 40, depth: 1000, lines: 2, ..load(&server, PUT, "ok") };
    vec![beside(cores, &server, &update(&server), &puts, "40 clients that put 1 000 points at a time")]
}

fn beside(cores: &Cores, server: &Server, update: &Load, others: &Load, what: &str) -> Line {
    let (mut idle, mut busy) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        idle.push(cores.measure(update).p99_us);
        let background = cores.begin(others);
        server.wait_for_processor_time(BUSY);
        busy.push(cores.measure(update).p99_us);
        drop(background);
    }
    line(&format!("update by token, p99 beside {what}"), &idle, &busy)
}

/// Logins beside a client that guesses passwords on three hundred connections from another address.
pub fn logins(cores: &Cores) -> Vec<Line> {
    let server = Server::vmherd_on(cores, &cores.all, "memory:", &[]);
    server.ask(KNOWN);
    let login = Load { time: 2 * TIME, ..load(&server, AUTHENTICATE, SUCCESS) };
    let (mut idle, mut busy) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        idle.push(cores.measure(&login).p99_us);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| guess(server.address, &is_over));
            server.wait_for_processor_time(BUSY);
            busy.push(cores.measure(&login).p99_us);
            is_over.store(true, Ordering::Relaxed);
        });
    }
    vec![line("login, p99 beside a client that guesses on 300 connections", &idle, &busy)]
}

fn line(figure: &str, idle: &Samples, busy: &Samples) -> Line {
    Line {
        figure: figure.into(),
        wanted: "< 250 ms".into(),
        measured: format!("{:.1} ms", busy.median() / 1e3),
        beside: format!("{} µs without others", short(idle.median())),
        verdict: Verdict::at_most(WAIT_US_MAX, busy),
    }
}

/// Always has a guess on each of three hundred connections.
fn guess(address: SocketAddr, is_over: &AtomicBool) {
    let connect = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket
            .bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0)).into())
            .expect("an address of this host");
        socket.connect(&address.into()).expect("it listens");
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(LONG)).expect("a TCP socket");
        stream.write_all(GUESS.as_bytes()).expect("it reads");
        BufReader::new(stream)
    };
    let mut streams: Vec<BufReader<TcpStream>> = (0..300).map(|_| connect()).collect();
    let mut line = String::new();
    while !is_over.load(Ordering::Relaxed) {
        for stream in &mut streams {
            line.clear();
            stream.read_line(&mut line).expect("it answers");
            stream.get_mut().write_all(GUESS.as_bytes()).expect("it reads");
            if is_over.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

fn update(server: &Server) -> Load {
    let update = UPDATE_REQUEST.replace("{spread}", TOKEN);
    Load { time: 2 * TIME, ..load(server, &update, SUCCESS) }
}
