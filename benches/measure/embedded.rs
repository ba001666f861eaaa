//! A program with a server in it, as others embed one.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use vmherd::{Config, EventKind, Server};

/// Serves at `address` until it is killed; `has_callbacks` adds one that does nothing for each kind of event.
pub fn serve(address: SocketAddr, state_dir: &Path, has_callbacks: bool) -> Result<(), Box<dyn Error>> {
    let listener = format!("tcp://{address}").parse()?;
    let config = Config::default().state_dir(state_dir).store("memory:".parse()?).listen(listener);
    let mut builder = Server::builder(config);
    if has_callbacks {
        for kind in EventKind::ALL {
            builder = builder.on(kind, |_| {});
        }
    }
    let _running = builder.bind()?.start()?;
    loop {
        thread::park();
    }
}
