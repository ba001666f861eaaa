//! A client of raw JSON and metrics text over a real socket. Each wait has a deadline.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::Socket;

use super::codec::Decoder;
use super::connection::Connection;
use super::{DEADLINE, PASSWORD};

/// A connection.
pub struct Client(Connection);

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
        Some(Client(Connection::new(stream)))
    }

    /// On a connected socket.
    pub fn over(socket: Socket) -> Client {
        Client(Connection::new(socket))
    }

    #[track_caller]
    pub fn connect_unix(path: &Path) -> Client {
        Client(Connection::new(UnixStream::connect(path).expect("the daemon accepts")))
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
        self.0.send(bytes)
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
        self.0.expect(Decoder::line)
    }

    /// As [`Client::raw_line`], for a daemon that may die at any moment: none without a whole line.
    pub fn try_line(&mut self) -> Option<String> {
        self.0.next(Decoder::line).ok()?
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
        self.0.expect(Decoder::text_reply) + "\n\n"
    }

    /// The next reply of metrics text without its last line break and its blank line, for a daemon that may die at any
    /// moment: none without a whole reply.
    pub fn try_text_reply(&mut self) -> Option<String> {
        self.0.next(Decoder::text_reply).ok()?
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
        self.0.rest()
    }

    /// The daemon closes in good order, without more output.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        assert_eq!(self.rest(), "", "more than the expected replies");
    }

    /// Nothing comes for `time`, and the connection stays open.
    #[track_caller]
    pub fn expect_silence(&mut self, time: Duration) {
        match self.0.receive(Instant::now() + time) {
            Err(error) if is_timeout(&error) => {}
            Ok(0) => panic!("closed"),
            Ok(_) => panic!("unexpected: {}", self.0.undecoded()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether something comes within `time`, the end included.
    pub fn has_input(&mut self, time: Duration) -> bool {
        self.0.receive(Instant::now() + time).is_ok()
    }

    /// Another handle on the same connection, which has received nothing yet.
    #[track_caller]
    pub fn another_handle(&self) -> Client {
        Client(Connection::new(self.socket().try_clone().expect("a descriptor")))
    }

    /// The client's own end, as the daemon sees it.
    pub fn local_address(&self) -> SocketAddr {
        self.socket().local_addr().ok().and_then(|address| address.as_socket()).expect("a TCP socket")
    }

    /// Ends one or both directions.
    pub fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.socket().shutdown(how)
    }

    /// Whether a part of a reply has come, and not all of it.
    pub fn has_part_of_reply(&self) -> bool {
        !self.0.decoder().is_between_replies()
    }

    /// The socket itself.
    pub fn socket(&self) -> &Socket {
        self.0.socket()
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
