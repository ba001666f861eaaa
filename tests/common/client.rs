//! A client over a real socket. Each wait has a deadline.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{DEADLINE, PASSWORD};

/// A connection.
pub struct Client {
    stream: Stream,
    /// Bytes that were received and not returned yet.
    received: Vec<u8>,
    /// How much of them has been searched for the end of a line.
    searched: usize,
}

/// Its socket.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A request.
pub fn request(command: &str, data: Value) -> Value {
    json!({"command": command, "data": data})
}

/// The request to register the VM `name` with the usual password.
pub fn registration(name: &str, disk_sizes: &[u64]) -> Value {
    let disks: Vec<Value> = disk_sizes.iter().map(|size| json!({"disk_size": size})).collect();
    let data = json!({"vm_id": name, "ram": 512, "cpu": 4, "password": PASSWORD, "disks": disks});
    request("register", data)
}

impl Client {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).expect("the daemon accepts")
    }

    /// As [`Client::connect`], for a daemon that may die at any moment.
    pub fn try_connect(address: SocketAddr) -> Option<Client> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).ok()?;
        stream.set_nodelay(true).expect("a socket option");
        Some(Client::over(Stream::Tcp(stream)))
    }

    #[track_caller]
    pub fn connect_unix(path: &Path) -> Client {
        Client::over(Stream::Unix(UnixStream::connect(path).expect("the daemon accepts")))
    }

    fn over(stream: Stream) -> Client {
        let client = Client { stream, received: Vec::new(), searched: 0 };
        client.set_write_timeout(DEADLINE);
        client
    }

    /// Sends `text` as it is, in one write.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    /// Sends `bytes` as they are.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the daemon takes what is sent");
    }

    /// Sends `bytes`, or as many of them as the daemon takes before it closes.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// The next reply.
    #[track_caller]
    pub fn reply(&mut self) -> Value {
        let line = self.raw_line();
        let reply = serde_json::from_str(&line);
        reply.unwrap_or_else(|error| panic!("a reply is no JSON ({error}): {line:?}"))
    }

    /// The next line as it came, without its line break.
    #[track_caller]
    pub fn raw_line(&mut self) -> String {
        match self.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => panic!("closed instead of a reply; before: {:?}", self.received_text()),
            Err(error) => panic!("no reply ({error}); so far: {:?}", self.received_text()),
        }
    }

    /// As [`Client::raw_line`], for a daemon that may die at any moment: none without a whole line.
    pub fn try_line(&mut self) -> Option<String> {
        self.next_line().ok()?
    }

    /// Sends `line` of metrics text and returns its reply.
    #[track_caller]
    pub fn call_text(&mut self, line: &str) -> String {
        self.send(&format!("{line}\n"));
        self.text_reply()
    }

    /// The next reply of metrics text, up to and with the blank line that ends it.
    #[track_caller]
    pub fn text_reply(&mut self) -> String {
        match self.next_until(b"\n\n") {
            Ok(Some(reply)) => reply,
            Ok(None) => panic!("closed instead of a reply; before: {:?}", self.received_text()),
            Err(error) => panic!("no reply ({error}); so far: {:?}", self.received_text()),
        }
    }

    /// As [`Client::call`], for a daemon that may die at any moment: none without a whole reply.
    pub fn try_call(&mut self, request: &Value) -> Option<Value> {
        self.try_send(request.to_string().as_bytes()).ok()?;
        let line = self.try_line()?;
        Some(serde_json::from_str(&line).expect("a whole line is a whole reply"))
    }

    /// Sends `request` and returns the reply.
    #[track_caller]
    pub fn call(&mut self, request: Value) -> Value {
        self.send(&request.to_string());
        self.reply()
    }

    /// Runs `command`, which must succeed, and returns the data of the reply.
    #[track_caller]
    pub fn succeed(&mut self, command: &str, data: Value) -> Value {
        let mut reply = self.call(request(command, data));
        assert_eq!(reply["status"], "success", "{command}: {reply}");
        reply["data"].take()
    }

    /// Sends `request`, which must fail, and returns the message.
    #[track_caller]
    pub fn fail(&mut self, request: Value) -> String {
        self.send(&request.to_string());
        self.error()
    }

    /// The next reply, which must be an error in the right shape; its message.
    #[track_caller]
    pub fn error(&mut self) -> String {
        let reply = self.reply();
        assert_eq!((&reply["status"], &reply["data"]), (&json!("error"), &json!({})), "{reply}");
        reply["message"].as_str().unwrap_or_else(|| panic!("no message: {reply}")).to_owned()
    }

    /// Pings the daemon.
    #[track_caller]
    pub fn ping(&mut self) {
        let reply = self.call(request("ping", json!({})));
        assert_eq!(reply["message"], "PONG", "{reply}");
    }

    /// Registers the VM `name` with the usual password.
    #[track_caller]
    pub fn register(&mut self, name: &str, disk_sizes: &[u64]) {
        let reply = self.call(registration(name, disk_sizes));
        assert_eq!(reply["data"], json!({"auth_id": name}), "{reply}");
    }

    /// Authenticates as the VM `name` with the usual password; the token.
    #[track_caller]
    pub fn authenticate(&mut self, name: &str) -> String {
        let data = self.succeed("authenticate", json!({"vm_id": name, "password": PASSWORD}));
        data["token"].as_str().unwrap_or_else(|| panic!("no token: {data}")).to_owned()
    }

    /// The entries of a list.
    #[track_caller]
    pub fn list(&mut self, list: &str) -> Vec<Value> {
        let mut data = self.succeed("list", json!({"list_type": list}));
        match data[list].take() {
            Value::Array(entries) => entries,
            other => panic!("{list} is no list: {other}"),
        }
    }

    /// Ends the output of this side.
    #[track_caller]
    pub fn half_close(&mut self) {
        self.shutdown(Shutdown::Write).expect("an open socket can be half closed");
    }

    /// Everything that comes until the daemon closes.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        String::from_utf8(self.rest_of_bytes()).expect("replies are UTF-8")
    }

    /// The same as bytes.
    #[track_caller]
    pub fn rest_of_bytes(&mut self) -> Vec<u8> {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.receive(end) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => panic!("not closed ({error}); so far: {} bytes", self.received.len()),
            }
        }
        self.searched = 0;
        std::mem::take(&mut self.received)
    }

    /// The daemon closes in good order, without more output.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        assert_eq!(self.rest(), "", "more than the expected replies");
    }

    /// Nothing comes for `time`, and the connection stays open.
    #[track_caller]
    pub fn expect_silence(&mut self, time: Duration) {
        match self.receive(Instant::now() + time) {
            Err(error) if is_timeout(&error) => {}
            Ok(0) => panic!("closed"),
            Ok(_) => panic!("unexpected: {:?}", String::from_utf8_lossy(&self.received)),
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether something comes within `time`, the end included.
    pub fn has_input(&mut self, time: Duration) -> bool {
        self.receive(Instant::now() + time).is_ok()
    }

    /// Another handle on the same connection, which has received nothing yet.
    #[track_caller]
    pub fn another_handle(&self) -> Client {
        Client::over(match &self.stream {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone().expect("a descriptor")),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone().expect("a descriptor")),
        })
    }

    /// The client's own end, as the daemon sees it.
    pub fn local_address(&self) -> SocketAddr {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().expect("an address"),
            Stream::Unix(_) => panic!("a unix socket has no port"),
        }
    }

    /// Ends one or both directions.
    pub fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(how),
            Stream::Unix(stream) => stream.shutdown(how),
        }
    }

    /// Whether a part of a reply has come, and not all of it.
    pub fn has_part_of_reply(&self) -> bool {
        !self.received.is_empty()
    }

    /// The socket itself.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The next line; none if the connection ends before its line break.
    fn next_line(&mut self) -> io::Result<Option<String>> {
        Ok(self.next_until(b"\n")?.map(|mut line| {
            line.pop();
            line
        }))
    }

    /// The input up to and with the next `end`; none if the connection ends before it.
    fn next_until(&mut self, end: &[u8]) -> io::Result<Option<String>> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = self.received[self.searched..].windows(end.len()).position(|part| part == end);
            if let Some(found) = found {
                let rest = self.received.split_off(self.searched + found + end.len());
                let text = std::mem::replace(&mut self.received, rest);
                self.searched = 0;
                return Ok(Some(String::from_utf8(text).expect("replies are UTF-8")));
            }
            self.searched = self.received.len().saturating_sub(end.len() - 1);
            if self.receive(deadline)? == 0 {
                return Ok(None);
            }
        }
    }

    /// Receives more bytes; 0 at the end.
    fn receive(&mut self, end: Instant) -> io::Result<usize> {
        let mut chunk = [0; 64 << 10];
        let length = loop {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let received = match &mut self.stream {
                Stream::Tcp(stream) => {
                    stream.set_read_timeout(Some(left))?;
                    stream.read(&mut chunk)
                }
                Stream::Unix(stream) => {
                    stream.set_read_timeout(Some(left))?;
                    stream.read(&mut chunk)
                }
            };
            match received {
                // A suspended machine interrupts reads with a timeout.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received?,
            }
        };
        self.received.extend_from_slice(&chunk[..length]);
        Ok(length)
    }

    /// The start of the bytes that were received and not returned yet.
    fn received_text(&self) -> String {
        String::from_utf8_lossy(&self.received).chars().take(200).collect()
    }

    fn set_write_timeout(&self, timeout: Duration) {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_write_timeout(Some(timeout)),
            Stream::Unix(stream) => stream.set_write_timeout(Some(timeout)),
        }
        .expect("a socket option");
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
