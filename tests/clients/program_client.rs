//! A client that makes one request after the other by a program of its framing's.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;

use crate::common::{Daemon, run};
use crate::programs::{Dialogue, curl, nc, python};

/// How requests are cut out of the stream, and by which program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    /// netcat, one connection.
    RawJson,
    /// curl, a connection for each request.
    Http,
    /// Python's `websockets`, one connection.
    WebSocket,
}

/// Where the daemon listens.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The client.
pub(crate) struct Talker {
    framing: Framing,
    place: Place,
    dialogue: Option<Dialogue>,
    /// What goes with each request of HTTP.
    token: Option<String>,
}

impl Framing {
    pub(crate) const ALL: [Framing; 3] = [Framing::RawJson, Framing::Http, Framing::WebSocket];

    /// Whether one connection carries a conversation, and with it a login.
    pub(crate) fn lasts(self) -> bool {
        self != Framing::Http
    }
}

impl Talker {
    /// A new client of the daemon's first listener.
    #[track_caller]
    pub(crate) fn of(daemon: &Daemon, framing: Framing) -> Talker {
        Talker::new(framing, Place::Tcp(daemon.address()))
    }

    #[track_caller]
    pub(crate) fn new(framing: Framing, place: Place) -> Talker {
        let dialogue = match (framing, &place) {
            (Framing::Http, _) => None,
            (Framing::RawJson, Place::Tcp(address)) => {
                let (ip, port) = (address.ip().to_string(), address.port().to_string());
                Some(Dialogue::start(nc().args([ip, port])))
            }
            (Framing::RawJson, Place::Unix(path)) => Some(Dialogue::start(nc().arg("-U").arg(path))),
            (Framing::WebSocket, Place::Tcp(address)) => {
                Some(Dialogue::start(python("talk.py").arg(format!("ws://{address}/"))))
            }
            (Framing::WebSocket, Place::Unix(path)) => {
                Some(Dialogue::start(python("talk.py").arg(format!("unix:{}", path.display()))))
            }
        };
        Talker { framing, place, dialogue, token: None }
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    /// Sends `token` with each further request, where a connection proves nothing.
    pub(crate) fn use_token(&mut self, token: &str) {
        assert!(!self.framing.lasts(), "a connection that lasts is authenticated itself");
        self.token = Some(token.to_owned());
    }

    /// Sends no token any more.
    pub(crate) fn use_no_token(&mut self) {
        self.token = None;
    }

    /// Sends `text` as it is and takes the reply as it comes, its line break taken off.
    #[track_caller]
    pub(crate) fn say(&mut self, text: &str) -> String {
        if self.framing == Framing::Http {
            let (status, reply) = self.post(text);
            assert_eq!(status, 200, "{text}: {reply}");
            return reply;
        }
        self.send(text);
        self.reply()
    }

    /// Makes `request` and takes the reply.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        let reply = self.say(&request.to_string());
        serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
    }

    /// Sends `text` as one request, over a connection that lasts.
    #[track_caller]
    pub(crate) fn send(&mut self, text: &str) {
        let dialogue = self.dialogue.as_mut().expect("a connection that lasts");
        match self.framing {
            Framing::WebSocket => dialogue.feed(&format!("{}\n", Value::from(text))),
            _ => dialogue.feed(text),
        }
    }

    /// The next reply, over a connection that lasts.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> String {
        self.dialogue.as_mut().expect("a connection that lasts").line()
    }

    /// Says goodbye; nothing more may have come.
    #[track_caller]
    pub(crate) fn leave(self) {
        if let Some(dialogue) = self.dialogue {
            dialogue.end();
        }
    }

    /// Posts `text`; the answer's status and its body without the line break.
    #[track_caller]
    pub(crate) fn post(&self, text: &str) -> (u16, String) {
        let mut command = curl();
        match &self.place {
            Place::Tcp(address) => command.arg(format!("http://{address}/")),
            Place::Unix(path) => command.arg("--unix-socket").arg(path).arg("http://localhost/"),
        };
        if let Some(token) = &self.token {
            command.arg("-H").arg(format!("Authorization: Bearer {token}"));
        }
        command.args(["-d", text, "-w", "%{http_code} %{content_type}"]);
        let said = run(&mut command).expect_success().stdout;
        let (body, outcome) = said.rsplit_once('\n').unwrap_or_else(|| panic!("no line break: {said:?}"));
        assert!(!body.contains('\n'), "more than one line: {said:?}");
        let (status, content_type) = outcome.split_once(' ').expect("as curl was told");
        assert_eq!(content_type, "application/json", "{said:?}");
        (status.parse().expect("a status"), body.to_owned())
    }
}
