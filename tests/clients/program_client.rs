//! A client that makes one request after the other with a program for its framing.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;

use crate::common::{Daemon, run};
use crate::programs::{Dialogue, curl, nc, python};

/// A framing, with the program that speaks it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    /// netcat, one connection.
    RawJson,
    /// curl, a connection for each request.
    Http,
    /// Python's `websockets`, one connection.
    WebSocket,
}

/// The address of a listener.
#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The client.
pub(crate) struct ProgramClient {
    framing: Framing,
    place: Endpoint,
    dialogue: Option<Dialogue>,
    /// Sent with each request of HTTP.
    token: Option<String>,
}

impl Framing {
    pub(crate) const ALL: [Framing; 3] = [Framing::RawJson, Framing::Http, Framing::WebSocket];

    /// Whether one connection carries all requests, and so keeps a login.
    pub(crate) fn is_persistent(self) -> bool {
        self != Framing::Http
    }
}

impl ProgramClient {
    /// A new client of the daemon's first listener.
    #[track_caller]
    pub(crate) fn of(daemon: &Daemon, framing: Framing) -> ProgramClient {
        ProgramClient::new(framing, Endpoint::Tcp(daemon.address()))
    }

    #[track_caller]
    pub(crate) fn new(framing: Framing, place: Endpoint) -> ProgramClient {
        let dialogue = match (framing, &place) {
            (Framing::Http, _) => None,
            (Framing::RawJson, Endpoint::Tcp(address)) => {
                let (ip, port) = (address.ip().to_string(), address.port().to_string());
                Some(Dialogue::start(nc().args([ip, port])))
            }
            (Framing::RawJson, Endpoint::Unix(path)) => Some(Dialogue::start(nc().arg("-U").arg(path))),
            (Framing::WebSocket, Endpoint::Tcp(address)) => {
                Some(Dialogue::start(python("talk.py").arg(format!("ws://{address}/"))))
            }
            (Framing::WebSocket, Endpoint::Unix(path)) => {
                Some(Dialogue::start(python("talk.py").arg(format!("unix:{}", path.display()))))
            }
        };
        ProgramClient { framing, place, dialogue, token: None }
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    /// Sends `token` with each further request, over a framing where a login does not last.
    pub(crate) fn use_token(&mut self, token: &str) {
        assert!(!self.framing.is_persistent(), "a persistent connection is authenticated itself");
        self.token = Some(token.to_owned());
    }

    /// Sends no token with further requests.
    pub(crate) fn use_no_token(&mut self) {
        self.token = None;
    }

    /// Sends `text` as it is and returns the reply without its line break.
    #[track_caller]
    pub(crate) fn call_text(&mut self, text: &str) -> String {
        if self.framing == Framing::Http {
            let (status, reply) = self.post(text);
            assert_eq!(status, 200, "{text}: {reply}");
            return reply;
        }
        self.send(text);
        self.reply()
    }

    /// Sends `request` and returns the reply.
    #[track_caller]
    pub(crate) fn call(&mut self, request: &Value) -> Value {
        let reply = self.call_text(&request.to_string());
        serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
    }

    /// Sends `text` as one request, over a persistent connection.
    #[track_caller]
    pub(crate) fn send(&mut self, text: &str) {
        let dialogue = self.dialogue.as_mut().expect("a persistent connection");
        match self.framing {
            Framing::WebSocket => dialogue.feed(&format!("{}\n", Value::from(text))),
            _ => dialogue.feed(text),
        }
    }

    /// The next reply, over a persistent connection.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> String {
        self.dialogue.as_mut().expect("a persistent connection").line()
    }

    /// Ends the connection; no more output may have come.
    #[track_caller]
    pub(crate) fn close(self) {
        if let Some(dialogue) = self.dialogue {
            dialogue.end();
        }
    }

    /// Posts `text`; the answer's status and its body without the line break.
    #[track_caller]
    pub(crate) fn post(&self, text: &str) -> (u16, String) {
        let mut command = curl();
        match &self.place {
            Endpoint::Tcp(address) => command.arg(format!("http://{address}/")),
            Endpoint::Unix(path) => command.arg("--unix-socket").arg(path).arg("http://localhost/"),
        };
        if let Some(token) = &self.token {
            command.arg("-H").arg(format!("Authorization: Bearer {token}"));
        }
        command.args(["-d", text, "-w", "%{http_code} %{content_type}"]);
        let said = run(&mut command).expect_success().stdout;
        let (body, outcome) = said.rsplit_once('\n').unwrap_or_else(|| panic!("no line break: {said:?}"));
        assert!(!body.contains('\n'), "more than one line: {said:?}");
        let (status, content_type) = outcome.split_once(' ').expect("the format of -w");
        assert_eq!(content_type, "application/json", "{said:?}");
        (status.parse().expect("a status"), body.to_owned())
    }
}
