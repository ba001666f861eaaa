//! A relay between a store and its PostgreSQL server that cuts the connection at a chosen message, or answers in the
//! server's place that it is not ready.

// Tests inside the crate and outside of it take what each needs.
#![allow(dead_code, unreachable_pub)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Listens on a port of its own and forwards everything, until a cut.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// Where to cut, once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// The server does not get this text.
    Before(&'static str),
    /// The server gets it and answers, and the client does not get the answer.
    After(&'static str),
}

#[derive(Default)]
struct Shared {
    cut: Mutex<Option<Cut>>,
    commits: AtomicUsize,
    /// The SQLSTATE and message to refuse connections with.
    refusal: Mutex<Option<(&'static str, &'static str)>>,
    refused: AtomicUsize,
}

impl Proxy {
    pub fn to(socket: PathBuf) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::<Shared>::default();
        let of_threads = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                of_threads.relay(client.expect("a connection"), &socket);
            }
        });
        Proxy { address, shared }
    }

    /// The URL of `database` through this.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://vmherd@{}/{database}", self.address)
    }

    pub fn cut(&self, cut: Cut) {
        *self.shared.cut.lock().unwrap() = Some(cut);
    }

    /// Whether the last cut is still to come.
    pub fn is_armed(&self) -> bool {
        self.shared.cut.lock().unwrap().is_some()
    }

    /// From now on refuses new connections with this SQLSTATE and message, or relays them.
    pub fn refuse(&self, refusal: Option<(&'static str, &'static str)>) {
        *self.shared.refusal.lock().unwrap() = refusal;
    }

    /// How many connections were refused.
    pub fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Acquire)
    }

    /// How many commits clients have sent.
    pub fn commits(&self) -> usize {
        self.shared.commits.load(Ordering::Acquire)
    }
}

impl Shared {
    fn relay(self: &Arc<Shared>, client: TcpStream, socket: &Path) {
        let refusal = *self.refusal.lock().unwrap();
        if let Some((code, message)) = refusal {
            self.refused.fetch_add(1, Ordering::AcqRel);
            return refuse(client, code, message);
        }
        // A connection while the server is down is closed.
        let Ok(server) = UnixStream::connect(socket) else { return };
        let swallows = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(self);
        let ends = (client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(&swallows));
        thread::spawn(move || shared.pass_requests(ends.0, ends.1, &ends.2));
        thread::spawn(move || pass_answers(server, client, &swallows));
    }

    fn pass_requests(&self, mut client: TcpStream, mut server: UnixStream, swallows: &AtomicBool) {
        let mut chunk = [0; 64 << 10];
        while let Ok(length @ 1..) = client.read(&mut chunk) {
            let says = |text: &str| {
                chunk[..length].windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
            };
            self.commits.fetch_add(usize::from(says("COMMIT\0")), Ordering::AcqRel);
            let mut cut = self.cut.lock().unwrap();
            match *cut {
                Some(Cut::Before(text)) if says(text) => {
                    *cut = None;
                    break;
                }
                Some(Cut::After(text)) if says(text) => {
                    *cut = None;
                    swallows.store(true, Ordering::Release);
                }
                _ => {}
            }
            drop(cut);
            if server.write_all(&chunk[..length]).is_err() {
                break;
            }
        }
        let _ = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
    }
}

/// Reads the startup message and answers with a fatal error, as a server that is starting up does.
fn refuse(mut client: TcpStream, code: &str, message: &str) {
    let mut length = [0; 4];
    if client.read_exact(&mut length).is_err() {
        return;
    }
    let rest = u64::from(u32::from_be_bytes(length)).saturating_sub(4);
    let _ = std::io::copy(&mut (&client).take(rest), &mut std::io::sink());
    let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
    let length = (fields.len() as u32 + 4).to_be_bytes();
    let _ = client.write_all(&[b"E", &length[..], fields.as_bytes()].concat());
}

fn pass_answers(mut server: UnixStream, mut client: TcpStream, swallows: &AtomicBool) {
    let mut chunk = [0; 64 << 10];
    while let Ok(length @ 1..) = server.read(&mut chunk) {
        if swallows.load(Ordering::Acquire) || client.write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    let _ = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
}
