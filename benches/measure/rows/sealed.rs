//! The sealed framing: what its connections cost beside the RSA operations in them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use vmherd::internals::crypto::{BLOCK_BYTES, KeyExchange, MessageKeys, PublicKey};
use vmherd::internals::limits;
use vmherd::internals::sys::process::set_thread_niceness;
use vmherd::{KeyPair, RsaKeyPair};

use super::ROUNDS;
use super::TIME;
use super::stored::per_second;
use crate::figures::{Line, Samples, Verdict, short};
use crate::process::{self, Cores, Server};
use crate::sys;

/// Sealed `STAT`s of the third generation, each on a connection of its own, beside a thread that does their key exchanges
/// only.
pub fn stat(cores: &Cores) -> Vec<Line> {
    let address = process::free_address();
    let listener = format!("sealed://{address}");
    let server = Server::vmherd(cores, "memory:", &["--listen", &listener]);
    let client = Client::new();
    client.stat(address);
    let (mut rate, mut cpu_ms) = (Samples::default(), Samples::default());
    let (mut bare_rate, mut bare_cpu_ms) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let (begun, before) = (Instant::now(), process::processor_time(server.id()));
        let count: u32 = thread::scope(|scope| {
            let repeat = || {
                sys::pin(&cores.generator);
                let mut count = 0;
                while begun.elapsed() < 2 * TIME {
                    client.stat(address);
                    count += 1;
                }
                count
            };
            let each: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(repeat)).collect();
            each.into_iter().map(|client| client.join().expect("it is answered")).sum()
        });
        let cpu = process::processor_time(server.id()) - before;
        rate.push(f64::from(count) / begun.elapsed().as_secs_f64());
        cpu_ms.push(cpu.as_secs_f64() * 1e3 / f64::from(count));
        let (exchanges, cpu) = client.bare_exchanges(cores);
        bare_rate.push(exchanges);
        bare_cpu_ms.push(cpu);
    }
    let ratio = rate.ratio(&bare_rate);
    vec![Line {
        figure: format!("sealed `STAT`, {CLIENTS} clients, a connection each time"),
        wanted: "0.85 × bare RSA".into(),
        measured: format!("{rate}/s ({} ms CPU)", short(cpu_ms.median())),
        beside: format!(
            "{:.2} × a thread that only exchanges keys: {bare_rate}/s ({} ms CPU); by processor time {:.2} ×",
            ratio.median(),
            short(bare_cpu_ms.median()),
            bare_cpu_ms.ratio(&cpu_ms).median(),
        ),
        verdict: Verdict::at_least(0.85, &bare_cpu_ms.ratio(&cpu_ms)),
    }]
}

/// Enough to keep the server's core busy: a client's key is smaller.
const CLIENTS: usize = 4;

const STAT: &[u8] = br#"{"verb": "STAT", "parameters": {}}"#;

struct Client {
    key_pair: RsaKeyPair,
    public_key: Arc<PublicKey>,
}

impl Client {
    fn new() -> Client {
        let key_pair = RsaKeyPair::generate(2048).expect("a key");
        let public_key = PublicKey::from_pem(key_pair.public_key_pem().as_bytes()).expect("a key");
        Client { key_pair, public_key: Arc::new(public_key) }
    }

    /// Asks for the status on a new connection.
    fn stat(&self, address: SocketAddr) {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        let pem = self.key_pair.public_key_pem().as_bytes();
        stream.write_all(format!("{:=<8}", pem.len()).as_bytes()).expect("it reads");
        acknowledged(&mut stream);
        stream.write_all(pem).expect("it reads");
        acknowledged(&mut stream);
        let length = take(&mut stream, 8);
        let length = String::from_utf8_lossy(&length).trim_end_matches('=').parse().expect("a length");
        stream.write_all(b"1").expect("it reads");
        let server_key = PublicKey::from_pem(&take(&mut stream, length)).expect("a key");
        let block = server_key.encrypt(&[7; 48]).expect("it fits");
        stream.write_all(&[b"1", &block[..]].concat()).expect("it reads");
        acknowledged(&mut stream);
        let mut keys = self.key_pair.decrypt(&take(&mut stream, 256)).expect("it is for this client");
        keys.extend([9; BLOCK_BYTES]);
        let keys = MessageKeys::from_bytes(&keys.try_into().expect("a key and a vector"));
        let mut body = STAT.to_vec();
        keys.key.encrypt(keys.iv, &mut body);
        body.extend_from_slice(&keys.next_iv);
        let mut length = body.len().to_string().into_bytes();
        keys.key.encrypt(keys.iv, &mut length);
        stream.write_all(&[b"1", &length[..]].concat()).expect("it reads");
        acknowledged(&mut stream);
        stream.write_all(&body).expect("it reads");
        take(&mut stream, BLOCK_BYTES);
        stream.write_all(b"1").expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers and closes");
        let length = answer.len() - BLOCK_BYTES;
        keys.key.decrypt(keys.next_iv, &mut answer[..length]);
        assert!(answer.starts_with(b"{\"success\":true"), "{}", answer.escape_ascii());
    }

    /// The exchanges of keys that a thread does in a second at the priority of the daemon's, and the processor time of
    /// each in milliseconds. The server's key has as many bits as the daemon's.
    fn bare_exchanges(&self, cores: &Cores) -> (f64, f64) {
        let server = RsaKeyPair::generate(limits::RSA_BITS).expect("a key");
        let for_server = PublicKey::from_pem(server.public_key_pem().as_bytes()).expect("a key");
        let block = for_server.encrypt(&[7; 48]).expect("it fits");
        let client_key = Arc::clone(&self.public_key);
        let exchange = KeyExchange { key_pair: Arc::new(server), client_key, block };
        thread::scope(|scope| {
            let run = scope.spawn(|| {
                sys::pin(&cores.server);
                set_thread_niceness(limits::AUTH_NICENESS).expect("stepping back is allowed");
                let mut count = 0.0;
                let rate = per_second(1, || {
                    count += 1.0;
                    drop(exchange.run().expect("the block is valid"));
                });
                (rate, process::own_thread_time().as_secs_f64() * 1e3 / count)
            });
            run.join().expect("it exchanges keys")
        })
    }
}

fn acknowledged(stream: &mut TcpStream) {
    assert_eq!(take(stream, 1), b"1");
}

fn take(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).expect("it answers");
    bytes
}
