//! Connections inside this process: a pipe in memory with a blocking end for the client and a nonblocking one for the
//! reactor. Both directions are bounded.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::net::{Event, Readable, Received};
use crate::clock::monotonic_now;
use crate::ids::ConnId;
use crate::limits;

/// A client of a server in the same process, without a socket: for tests of programs that embed a server.
///
/// The server sees it like a client of a unix socket on which everything is open, and counts it as a connection. It
/// speaks all protocols through [`Read`] and [`Write`], also shared by two threads (`&LocalClient`), and raw JSON with
/// [`LocalClient::call`]. Its calls block, so it belongs to another thread than a [`ServerLoop`](crate::ServerLoop).
/// Dropping it closes the connection; when the server closes it, reads return the end of file. A restart of the server
/// closes it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = std::env::temp_dir().join(format!("vmherd-client-{}", std::process::id()));
/// # let config = vmherd::Config::default().state_dir(&directory).store("memory:".parse()?);
/// # let config = config.listen("tcp://127.0.0.1:0".parse()?);
/// let running = vmherd::Server::bind(config)?.start()?;
/// let mut client = running.client()?;
/// let reply = client.call(r#"{"command":"ping","data":{}}"#)?;
/// assert_eq!(reply["message"], "PONG");
/// # running.stop(std::time::Duration::ZERO)?;
/// # std::fs::remove_dir_all(directory)?;
/// # Ok(())
/// # }
/// ```
pub struct LocalClient {
    pipe: Arc<Pipe>,
    port: Arc<LocalPort>,
    timeout: Option<Duration>,
}

/// Where clients of this process connect, and where they report to the reactor.
pub struct LocalPort {
    state: Mutex<PortState>,
    /// Ends the wait of the net's poll.
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct PortState {
    /// Pipes that are not accepted yet.
    waiting: VecDeque<Arc<Pipe>>,
    /// A pipe was added since the last poll.
    is_acceptable: bool,
    /// Pipes with an event, each once.
    ready: VecDeque<Arc<Pipe>>,
    is_closed: bool,
}

/// The listener of a port; dropping it closes the port.
pub struct LocalListener(Arc<LocalPort>);

/// The server's end of a pipe; dropping it closes the connection.
pub struct LocalSocket(Arc<Pipe>);

struct Pipe {
    state: Mutex<PipeState>,
    /// Notified when the client may be able to go on.
    changed: Condvar,
}

#[derive(Default)]
struct PipeState {
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// The client has closed.
    client_is_gone: bool,
    /// The server sends no more.
    output_has_ended: bool,
    /// The server has closed.
    server_is_gone: bool,
    /// The connection, once it is registered.
    id: Option<ConnId>,
    /// The server waits for input.
    wants_input: bool,
    /// The server waits for room for output.
    wants_room: bool,
    /// The event that the port has for the server, if any.
    event: Option<PipeEvent>,
}

#[derive(Clone, Copy)]
struct PipeEvent {
    readable: Readable,
    writable: bool,
}

impl LocalPort {
    /// A port without clients. `wake` must not block.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> LocalPort {
        LocalPort { state: Mutex::default(), wake: Box::new(wake) }
    }

    /// Its listener; there must be one only.
    pub fn listener(self: &Arc<Self>) -> LocalListener {
        LocalListener(Arc::clone(self))
    }

    /// A new client. An error means that the server has stopped accepting, or that too many clients wait.
    pub fn connect(self: &Arc<Self>) -> io::Result<LocalClient> {
        let pipe = Arc::new(Pipe { state: Mutex::default(), changed: Condvar::new() });
        let mut state = self.lock();
        if state.is_closed {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the server accepts no clients"));
        }
        if state.waiting.len() >= limits::LISTEN_BACKLOG as usize {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "too many clients wait to be accepted"));
        }
        state.waiting.push_back(Arc::clone(&pipe));
        let must_wake = !std::mem::replace(&mut state.is_acceptable, true);
        drop(state);
        if must_wake {
            (self.wake)();
        }
        Ok(LocalClient { pipe, port: Arc::clone(self), timeout: Some(limits::LOCAL_CLIENT_TIMEOUT) })
    }

    /// Appends the events since the last call, a bounded number of them, to `events`; `listener` is the index of its
    /// listener. Returns whether more wait.
    pub fn take_events(&self, listener: usize, events: &mut Vec<Event>) -> bool {
        let mut state = self.lock();
        if std::mem::take(&mut state.is_acceptable) {
            events.push(Event::Acceptable(listener));
        }
        let count = state.ready.len().min(limits::EVENTS_PER_TICK_MAX);
        let ready: Vec<Arc<Pipe>> = state.ready.drain(..count).collect();
        let has_more = !state.ready.is_empty();
        drop(state);
        for pipe in ready {
            let mut pipe = pipe.lock();
            let event = pipe.event.take();
            // The id of a closed connection may have another one after a restart.
            if let (Some(PipeEvent { readable, writable }), Some(id), false) =
                (event, pipe.id, pipe.server_is_gone)
            {
                events.push(Event::Ready { id, readable, writable, broken: false });
            }
        }
        has_more
    }

    /// Reports to the reactor what `event` says of `pipe`, whose state is `state`.
    fn report(&self, pipe: &Arc<Pipe>, mut state: MutexGuard<'_, PipeState>, event: PipeEvent) {
        if let Some(pending) = &mut state.event {
            pending.readable = pending.readable.max(event.readable);
            pending.writable |= event.writable;
            return;
        }
        state.event = Some(event);
        drop(state);
        let mut port = self.lock();
        port.ready.push_back(Arc::clone(pipe));
        let must_wake = port.ready.len() == 1;
        drop(port);
        if must_wake {
            (self.wake)();
        }
    }

    fn lock(&self) -> MutexGuard<'_, PortState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalListener {
    /// The server's end of the next client's pipe; `WouldBlock` if none waits.
    pub fn accept(&self) -> io::Result<LocalSocket> {
        let next = self.0.lock().waiting.pop_front();
        next.map(LocalSocket).ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|pipe| drop(LocalSocket(pipe)));
    }
}

impl LocalSocket {
    /// Has events reported for the connection `id`.
    pub fn register(&self, id: ConnId) {
        self.0.lock().id = Some(id);
    }

    /// As [`Net::read`](super::net::Net::read).
    pub fn read(&self, bytes: &mut [u8]) -> io::Result<Received> {
        let mut state = self.0.lock();
        let count = state.to_server.read(bytes)?;
        state.wants_input = state.to_server.is_empty();
        if count == 0 && !state.client_is_gone {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.changed.notify_all();
        Ok(Received { count, is_drained: state.to_server.is_empty() && !state.client_is_gone })
    }

    /// As [`Net::write`](super::net::Net::write).
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.client_is_gone || state.output_has_ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(limits::LOCAL_PIPE_BYTES - state.to_client.len());
        if count == 0 {
            state.wants_room = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.to_client.extend(&bytes[..count]);
        self.0.changed.notify_all();
        Ok(count)
    }

    /// Ends the output; the client can still send.
    pub fn shutdown_write(&self) {
        self.0.lock().output_has_ended = true;
        self.0.changed.notify_all();
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        (state.server_is_gone, state.output_has_ended) = (true, true);
        state.to_server = VecDeque::new();
        drop(state);
        self.0.changed.notify_all();
    }
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, PipeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalClient {
    /// How long a read or a write waits at most (`None`: without a limit) before it fails with
    /// [`io::ErrorKind::TimedOut`]; 30 seconds by default.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Sends a request of raw JSON as one line and returns the reply, the next line. After an error, such as a timeout,
    /// the reply may still come; close the client then.
    pub fn call(&mut self, request: impl fmt::Display) -> io::Result<Value> {
        let line = format!("{request}\n");
        self.write_all(line.as_bytes())?;
        let mut reply = Vec::new();
        while reply.last() != Some(&b'\n') {
            if self.receive(|input| take_line(input, &mut reply))? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if reply.len() > limits::LOCAL_REPLY_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the reply is too long"));
            }
        }
        serde_json::from_slice(&reply).map_err(io::Error::from)
    }

    /// Waits for input and has `take` remove some; returns what it returns, zero at the end.
    fn receive(&self, take: impl FnOnce(&mut VecDeque<u8>) -> usize) -> io::Result<usize> {
        let mut state = self.wait(|state| state.to_client.is_empty() && !state.output_has_ended)?;
        let count = take(&mut state.to_client);
        if std::mem::take(&mut state.wants_room) {
            let event = PipeEvent { readable: Readable::No, writable: true };
            self.port.report(&self.pipe, state, event);
        }
        Ok(count)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state =
            self.wait(|state| state.to_server.len() >= limits::LOCAL_PIPE_BYTES && !state.server_is_gone)?;
        if state.server_is_gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(limits::LOCAL_PIPE_BYTES - state.to_server.len());
        state.to_server.extend(&bytes[..count]);
        if std::mem::take(&mut state.wants_input) {
            let event = PipeEvent { readable: Readable::UntilDrained, writable: false };
            self.port.report(&self.pipe, state, event);
        }
        Ok(count)
    }

    /// Waits while `must_wait` returns true.
    fn wait(&self, must_wait: impl Fn(&PipeState) -> bool) -> io::Result<MutexGuard<'_, PipeState>> {
        let mut state = self.pipe.lock();
        let end = self.timeout.map(|timeout| monotonic_now() + timeout);
        while must_wait(&state) {
            let left = end.map_or(limits::LOCAL_CLIENT_TIMEOUT, |end| end.since(monotonic_now()));
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let waited = self.pipe.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state)
    }
}

/// Moves bytes to the end of `line`, up to and with a line break; returns how many.
fn take_line(input: &mut VecDeque<u8>, line: &mut Vec<u8>) -> usize {
    let end = input.iter().position(|byte| *byte == b'\n').map_or(input.len(), |index| index + 1);
    line.extend(input.drain(..end));
    end
}

impl Read for &LocalClient {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.receive(|input| input.read(bytes).unwrap_or_default())
    }
}

impl Write for &LocalClient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for LocalClient {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (&*self).read(bytes)
    }
}

impl Write for LocalClient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LocalClient {
    fn drop(&mut self) {
        let mut state = self.pipe.lock();
        state.client_is_gone = true;
        state.to_client = VecDeque::new();
        let event = PipeEvent { readable: Readable::UntilRefused, writable: true };
        self.port.report(&self.pipe, state, event);
    }
}

impl fmt::Debug for LocalSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSocket").field("id", &self.0.lock().id).finish_non_exhaustive()
    }
}

impl fmt::Debug for LocalListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalListener").finish_non_exhaustive()
    }
}

impl fmt::Debug for LocalClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalClient").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
