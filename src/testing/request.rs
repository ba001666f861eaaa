//! What fake clients ask, and how that looks on the wire.

use super::deed::Deed;
use super::herd::Herd;
use super::metrics::{Batch, Range};

/// One thing that a client says, and owes it a reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum What {
    Ping,
    Register {
        vm: usize,
    },
    Authenticate {
        vm: usize,
        is_right: bool,
    },
    List {
        list: &'static str,
        token: Option<usize>,
    },
    Update {
        ram: u32,
        token: Option<usize>,
    },
    Logout {
        token: Option<usize>,
    },
    /// Points are to be kept; how the client says it.
    Put {
        batch: Batch,
        said: String,
        token: Option<usize>,
    },
    /// Points are to be told.
    Get {
        range: Range,
        token: Option<usize>,
    },
    /// Entities out of a text that nobody else has.
    Convert {
        mark: u64,
    },
    /// Over HTTP: how the server is, and what it is.
    Health,
    Front,
    /// Something about other VMs than oneself.
    Do(Deed),
    /// A request that breaks a rule.
    Bad(Bad),
    /// What ends a connection.
    LastWords(LastWords),
}

/// Requests that break a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bad {
    Json,
    Array,
    Stray,
    Command,
    Id,
    /// In metrics text.
    Line,
    /// The field's name is nobody else's.
    Field(u64),
    Password,
    Operators,
    // Those that only somebody who has authenticated is told of:
    List,
    NoFields,
    Disk,
}

/// Ends that are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LastWords {
    TimedOut,
    TooLarge,
    CutShort,
    BadText,
    WrongProtocol,
}

pub(super) const LISTS: [&str; 4] = ["active_vms", "authenticated_vms", "all_vms", "all_disks"];

impl What {
    /// Whether nothing that follows is looked at before this is answered.
    pub(super) fn is_barrier(&self) -> bool {
        match self {
            What::Register { .. } | What::Authenticate { .. } | What::Logout { .. } => true,
            What::List { token, .. } | What::Update { token, .. } => token.is_some(),
            What::Put { token, .. } | What::Get { token, .. } => token.is_some(),
            What::Do(deed) => deed.is_barrier(),
            What::Bad(bad) => *bad == Bad::Password,
            What::Ping | What::Convert { .. } | What::Health | What::Front | What::LastWords(_) => false,
        }
    }

    /// Whether the reply can't carry an id.
    pub(super) fn is_nameless(&self) -> bool {
        let is_page = matches!(self, What::Health | What::Front);
        is_page
            || matches!(
                self,
                What::Bad(Bad::Json | Bad::Array | Bad::Stray | Bad::Id | Bad::Line) | What::LastWords(_)
            )
    }

    /// The same with a token, where it may have one.
    pub(super) fn with_token(self, token: usize) -> What {
        let token = Some(token);
        match self {
            What::List { list, token: None } => What::List { list, token },
            What::Update { ram, token: None } => What::Update { ram, token },
            What::Logout { token: None } => What::Logout { token },
            What::Put { batch, said, token: None } => What::Put { batch, said, token },
            What::Get { range, token: None } => What::Get { range, token },
            other => other,
        }
    }

    pub(super) fn token(&self) -> Option<usize> {
        match self {
            What::List { token, .. } | What::Update { token, .. } | What::Logout { token } => *token,
            What::Put { token, .. } | What::Get { token, .. } => *token,
            _ => None,
        }
    }

    /// The request's text. `id` is JSON already; a token may be said elsewhere.
    pub(super) fn text(&self, id: Option<&str>, shows_token: bool, herd: &Herd) -> String {
        let id = id.map_or(String::new(), |id| format!("\"request_id\": {id}, "));
        let token = |token: &Option<usize>| match token {
            Some(token) if shows_token => format!("\"token\": \"{}\"", herd.tokens[*token].text),
            _ => "\"token\": null".to_owned(),
        };
        let (command, data) = match self {
            What::Ping => ("ping", String::new()),
            What::Register { vm } => {
                let vm = &herd.vms[*vm];
                let ram = vm.rams_ever.first().expect("a VM begins with some memory");
                let disks = "[{\"disk_size\": 7}, {\"disk_size\": 8}]";
                let (name, password) = (&vm.name, &vm.password);
                (
                    "register",
                    format!(
                        "\"vm_id\": \"{name}\", \"password\": \"{password}\", \"ram\": {ram}, \"cpu\": 2, \"disks\": {disks}"
                    ),
                )
            }
            What::Authenticate { vm, is_right } => {
                let vm = &herd.vms[*vm];
                let password = if *is_right { vm.password.as_str() } else { "not the password" };
                ("authenticate", format!("\"vm_id\": \"{}\", \"password\": \"{password}\"", vm.name))
            }
            What::List { list, token: of } => ("list", format!("\"list_type\": \"{list}\", {}", token(of))),
            What::Update { ram, token: of } => ("update", format!("\"ram\": {ram}, {}", token(of))),
            What::Logout { token: of } => ("logout", token(of)),
            What::Put { said, token: of, .. } => ("put", format!("{said}, {}", token(of))),
            What::Get { range, token: of } => {
                let bound = |name: &str, bound: Option<i64>| {
                    bound.map(|second| format!("\"{name}\": {second}, ")).unwrap_or_default()
                };
                let (from, to) = (bound("from", range.from), bound("to", range.to));
                ("get", format!("\"key\": \"{}\", {from}{to}{}", range.key, token(of)))
            }
            What::Do(deed) => return format!("{{{id}{}}}", deed.text()),
            What::Convert { mark } => {
                let data = format!("unit{mark}&&name&&x&&empty&&&&id&&{mark}&&");
                return format!("{{{id}\"data\": \"{data}\"}}");
            }
            What::Bad(bad) => return bad.text(&id),
            What::Health | What::Front | What::LastWords(_) => unreachable!("sent as bytes"),
        };
        format!("{{{id}\"command\": \"{command}\", \"data\": {{{data}}}}}")
    }
}

impl Bad {
    fn text(self, id: &str) -> String {
        match self {
            Bad::Json => "{this is} ".to_owned(),
            Bad::Line => unreachable!("said in metrics text only"),
            Bad::Array => "[1, {\"command\": \"ping\"}]".to_owned(),
            Bad::Stray => "oops {\"command\": \"ping\"} and more\n".to_owned(),
            Bad::Command => format!("{{{id}\"command\": \"fly\"}}"),
            Bad::Id => "{\"request_id\": [1], \"command\": \"ping\"}".to_owned(),
            Bad::Field(mark) => format!("{{{id}\"command\": \"ping\", \"data\": {{\"mark{mark}\": 1}}}}"),
            Bad::Password => format!(
                "{{{id}\"command\": \"register\", \"data\": {{\"vm_id\": \"v\", \"password\": \"short\", \"ram\": 1, \"cpu\": 1, \"disks\": []}}}}"
            ),
            Bad::Operators => format!("{{{id}\"command\": \"stats\", \"data\": {{}}}}"),
            Bad::List => format!("{{{id}\"command\": \"list\", \"data\": {{\"list_type\": \"cows\"}}}}"),
            Bad::NoFields => format!("{{{id}\"command\": \"update\", \"data\": {{}}}}"),
            Bad::Disk => format!(
                "{{{id}\"command\": \"update\", \"data\": {{\"disks\": [{{\"id\": 999999999, \"disk_size\": 5}}]}}}}"
            ),
        }
    }

    /// Whether those who have not authenticated are told only that.
    pub(super) fn needs_login(self) -> bool {
        matches!(self, Bad::List | Bad::NoFields | Bad::Disk)
    }

    /// Whether no command was begun for it.
    pub(super) fn is_seen_at_once(self) -> bool {
        matches!(self, Bad::Json | Bad::Array | Bad::Stray | Bad::Command | Bad::Id | Bad::Line)
    }
}
