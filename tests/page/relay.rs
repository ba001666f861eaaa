//! A port that stays while the daemon behind it comes and goes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Forwards connections to a daemon that can be exchanged.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<Option<SocketAddr>>,
    clients: Mutex<Vec<TcpStream>>,
}

impl Relay {
    pub(crate) fn to(target: SocketAddr) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared { target: Mutex::new(Some(target)), clients: Mutex::default() });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            listener.incoming().map_while(Result::ok).for_each(|client| of_thread.relay(client))
        });
        Relay { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Ends all connections. New ones go to `target`, or are closed at once.
    pub(crate) fn cut(&self, target: Option<SocketAddr>) {
        *self.shared.target.lock().expect("no panic") = target;
        for client in self.shared.clients.lock().expect("no panic").drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn relay(&self, client: TcpStream) {
        let target = *self.target.lock().expect("no panic");
        let Some(server) = target.and_then(|target| TcpStream::connect(target).ok()) else { return };
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (from, to) = (from.try_clone().expect("a descriptor"), to.try_clone().expect("a descriptor"));
            thread::spawn(move || forward(from, to));
        }
        self.clients.lock().expect("no panic").push(client);
    }
}

/// Copies until one side ends, then ends both.
fn forward(mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = [0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        if to.write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
