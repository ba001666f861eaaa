//! The requests of fake clients, and their texts.

use super::action_requests::ActionRequest;
use super::container_model::ContainerRequest;
use super::point_model::{Batch, PointQuery};
use super::reference_model::ReferenceModel;
use super::response::{ClosingError, Shape};
use super::verb_requests::{CustomRequest, STAT_PATHS, VerbForm};

/// A request, which gets one reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Request {
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
    /// Puts points; with the fields or the line of the request.
    Put {
        batch: Batch,
        text: String,
        token: Option<usize>,
    },
    /// Gets points.
    Get {
        query: PointQuery,
        token: Option<usize>,
    },
    /// Converts a text that no other request has.
    Convert {
        mark: u64,
    },
    /// The verb `STAT`.
    Stat {
        form: VerbForm,
        token: Option<usize>,
    },
    /// An added verb or command.
    Custom(CustomRequest),
    /// `CREATE` or `DESTROY`.
    Container(ContainerRequest),
    /// Pages of HTTP.
    Health,
    FrontPage,
    /// A request of the dialect `action`.
    Action(ActionRequest),
    /// A request that breaks a rule.
    Invalid(InvalidRequest),
    /// Not a request: input for which the server ends the connection.
    Closing(ClosingError),
}

/// Requests that break a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InvalidRequest {
    NotJson,
    Array,
    StrayBytes,
    UnknownCommand,
    BadId,
    /// A line of metrics text.
    TextLine,
    /// The field's name is unique.
    UnknownField(u64),
    ShortPassword,
    OperatorCommand,
    UnknownVerb,
    /// A verb without parameters.
    BareVerb,
    /// A request of another dialect, where there are verbs only.
    #[cfg_attr(not(feature = "sealed"), allow(dead_code))]
    NoVerb,
    // Errors that only an authenticated client gets:
    UnknownList,
    EmptyUpdate,
    UnknownDisk,
}

pub(super) const LISTS: [&str; 4] = ["active_vms", "authenticated_vms", "all_vms", "all_disks"];

impl Request {
    /// Whether later requests are not begun before this is answered.
    pub(super) fn is_barrier(&self) -> bool {
        match self {
            Request::Register { .. } | Request::Authenticate { .. } | Request::Logout { .. } => true,
            Request::List { token, .. } | Request::Update { token, .. } | Request::Stat { token, .. } => {
                token.is_some()
            }
            Request::Put { token, .. } | Request::Get { token, .. } => token.is_some(),
            Request::Action(action) => action.is_barrier(),
            Request::Custom(custom) => custom.token.is_some(),
            Request::Container(container) => container.token.is_some(),
            Request::Invalid(bad) => *bad == InvalidRequest::ShortPassword,
            Request::Ping
            | Request::Convert { .. }
            | Request::Health
            | Request::FrontPage
            | Request::Closing(_) => false,
        }
    }

    /// Whether it is a write, which later reads and barriers of the connection wait for.
    pub(super) fn is_write(&self) -> bool {
        match self {
            Request::Put { .. } | Request::Update { .. } => true,
            Request::Action(action) => {
                matches!(action, ActionRequest::Add { .. } | ActionRequest::Update { .. })
            }
            _ => false,
        }
    }

    /// Whether it begins only when all writes before it are done.
    pub(super) fn waits_for_writes(&self) -> bool {
        let is_read = matches!(
            self,
            Request::List { .. } | Request::Get { .. } | Request::Action(ActionRequest::List(_))
        );
        is_read || self.is_barrier()
    }

    /// Whether the reply can't carry an id.
    pub(super) fn has_no_id(&self) -> bool {
        let is_page = matches!(self, Request::Health | Request::FrontPage);
        is_page
            || self.verb_paths().is_some()
            || matches!(
                self,
                Request::Invalid(
                    InvalidRequest::NotJson
                        | InvalidRequest::Array
                        | InvalidRequest::StrayBytes
                        | InvalidRequest::BadId
                        | InvalidRequest::TextLine
                ) | Request::Closing(_)
            )
    }

    /// The same request with a token, where it may have one.
    pub(super) fn with_token(self, token: usize) -> Request {
        let token = Some(token);
        match self {
            Request::List { list, token: None } => Request::List { list, token },
            Request::Update { ram, token: None } => Request::Update { ram, token },
            Request::Logout { token: None } => Request::Logout { token },
            Request::Put { batch, text, token: None } => Request::Put { batch, text, token },
            Request::Get { query, token: None } => Request::Get { query, token },
            Request::Stat { form, token: None } => Request::Stat { form, token },
            Request::Custom(custom) => {
                Request::Custom(CustomRequest { token: custom.token.or(token), ..custom })
            }
            Request::Container(container) => {
                Request::Container(ContainerRequest { token: container.token.or(token), ..container })
            }
            other => other,
        }
    }

    pub(super) fn token(&self) -> Option<usize> {
        match self {
            Request::List { token, .. } | Request::Update { token, .. } | Request::Logout { token } => *token,
            Request::Put { token, .. } | Request::Get { token, .. } | Request::Stat { token, .. } => *token,
            Request::Custom(custom) => custom.token,
            Request::Container(container) => container.token,
            _ => None,
        }
    }

    /// Whether its text has no place for a token.
    pub(super) fn needs_bearer_token(&self) -> bool {
        match self {
            Request::Stat { .. } | Request::Container(_) => true,
            Request::Custom(custom) => custom.is_verb(),
            _ => false,
        }
    }

    /// How it names its verb; `None` if it has none.
    pub(super) fn verb_form(&self) -> Option<VerbForm> {
        match self {
            Request::Stat { form, .. } => Some(*form),
            Request::Custom(custom) if custom.is_verb() => Some(custom.form),
            Request::Container(container) => Some(container.form),
            _ => None,
        }
    }

    /// The paths that name its verb, if it has no other name there.
    pub(super) fn verb_paths(&self) -> Option<[&'static str; 3]> {
        self.verb_form().filter(|form| *form != VerbForm::Message)?;
        match self {
            Request::Custom(custom) => Some(custom.custom.paths()),
            Request::Container(container) => Some(container.paths()),
            _ => Some(STAT_PATHS),
        }
    }

    /// The request as it is sent where there are no paths and no header fields.
    pub(super) fn without_http(self) -> Request {
        match self {
            Request::Health | Request::FrontPage => Request::Ping,
            Request::Stat { .. } => Request::Stat { form: VerbForm::Message, token: None },
            Request::Custom(custom) => Request::Custom(custom.without_http()),
            Request::Container(container) => Request::Container(container.without_http()),
            other => other,
        }
    }

    /// The shape of its reply.
    pub(super) fn shape(&self) -> Shape {
        match self {
            Request::Action(_) | Request::Convert { .. } => Shape::Action,
            Request::Stat { .. } | Request::Container(_) => Shape::Verb,
            Request::Custom(custom) if custom.is_verb() => Shape::Verb,
            Request::Invalid(
                InvalidRequest::UnknownVerb | InvalidRequest::BareVerb | InvalidRequest::NoVerb,
            ) => Shape::Verb,
            _ => Shape::Command,
        }
    }

    /// The request's text. `id` is JSON; without `shows_token` the token is sent in a header field.
    pub(super) fn text(&self, id: Option<&str>, shows_token: bool, model: &ReferenceModel) -> String {
        let id = id.map_or(String::new(), |id| format!("\"request_id\": {id}, "));
        let token = |token: &Option<usize>| match token {
            Some(token) if shows_token => format!("\"token\": \"{}\"", model.tokens[*token].text),
            _ => "\"token\": null".to_owned(),
        };
        let (command, data) = match self {
            Request::Ping => ("ping", String::new()),
            Request::Register { vm } => {
                let vm = &model.vms[*vm];
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
            Request::Authenticate { vm, is_right } => {
                let vm = &model.vms[*vm];
                let password = if *is_right { vm.password.as_str() } else { "not the password" };
                ("authenticate", format!("\"vm_id\": \"{}\", \"password\": \"{password}\"", vm.name))
            }
            Request::List { list, token: of } => {
                ("list", format!("\"list_type\": \"{list}\", {}", token(of)))
            }
            Request::Update { ram, token: of } => ("update", format!("\"ram\": {ram}, {}", token(of))),
            Request::Logout { token: of } => ("logout", token(of)),
            Request::Put { text, token: of, .. } => ("put", format!("{text}, {}", token(of))),
            Request::Get { query, token: of } => {
                let bound = |name: &str, bound: Option<i64>| {
                    bound.map(|second| format!("\"{name}\": {second}, ")).unwrap_or_default()
                };
                let (from, to) = (bound("from", query.from), bound("to", query.to));
                ("get", format!("\"key\": \"{}\", {from}{to}{}", query.key, token(of)))
            }
            Request::Action(action) => return format!("{{{id}{}}}", action.text()),
            Request::Stat { form, .. } => {
                // They are ignored.
                let parameters = "{\"detail\": [1, {}], \"detail\": null}";
                return match form {
                    VerbForm::Message => format!("{{{id}\"verb\": \"STAT\", \"parameters\": {parameters}}}"),
                    VerbForm::Post => parameters.to_owned(),
                    VerbForm::PostNothing | VerbForm::Get => String::new(),
                };
            }
            Request::Custom(custom) => return custom.text(&id, &token(&custom.token)),
            Request::Container(container) => return container.text(&id, &model.containers),
            Request::Convert { mark } => {
                let data = format!("unit{mark}&&name&&x&&empty&&&&id&&{mark}&&");
                return format!("{{{id}\"data\": \"{data}\"}}");
            }
            Request::Invalid(bad) => return bad.text(&id),
            Request::Health | Request::FrontPage | Request::Closing(_) => unreachable!("sent as bytes"),
        };
        format!("{{{id}\"command\": \"{command}\", \"data\": {{{data}}}}}")
    }
}

impl InvalidRequest {
    fn text(self, id: &str) -> String {
        match self {
            InvalidRequest::NotJson => "{this is} ".to_owned(),
            InvalidRequest::TextLine => unreachable!("a line of metrics text only"),
            InvalidRequest::Array => "[1, {\"command\": \"ping\"}]".to_owned(),
            InvalidRequest::StrayBytes => "oops {\"command\": \"ping\"} and more\n".to_owned(),
            InvalidRequest::UnknownCommand => format!("{{{id}\"command\": \"fly\"}}"),
            InvalidRequest::BadId => "{\"request_id\": [1], \"command\": \"ping\"}".to_owned(),
            InvalidRequest::UnknownField(mark) => {
                format!("{{{id}\"command\": \"ping\", \"data\": {{\"mark{mark}\": 1}}}}")
            }
            InvalidRequest::ShortPassword => format!(
                "{{{id}\"command\": \"register\", \"data\": {{\"vm_id\": \"v\", \"password\": \"short\", \"ram\": 1, \"cpu\": 1, \"disks\": []}}}}"
            ),
            InvalidRequest::OperatorCommand => format!("{{{id}\"command\": \"stats\", \"data\": {{}}}}"),
            InvalidRequest::UnknownVerb => format!("{{{id}\"verb\": \"STATE\", \"parameters\": {{}}}}"),
            InvalidRequest::BareVerb => format!("{{{id}\"verb\": \"STAT\"}}"),
            InvalidRequest::NoVerb => format!("{{{id}\"command\": \"ping\", \"data\": {{}}}}"),
            InvalidRequest::UnknownList => {
                format!("{{{id}\"command\": \"list\", \"data\": {{\"list_type\": \"cows\"}}}}")
            }
            InvalidRequest::EmptyUpdate => format!("{{{id}\"command\": \"update\", \"data\": {{}}}}"),
            InvalidRequest::UnknownDisk => format!(
                "{{{id}\"command\": \"update\", \"data\": {{\"disks\": [{{\"id\": 999999999, \"disk_size\": 5}}]}}}}"
            ),
        }
    }

    /// Whether an anonymous client gets `authentication required` instead of the error.
    pub(super) fn needs_login(self) -> bool {
        matches!(
            self,
            InvalidRequest::UnknownList | InvalidRequest::EmptyUpdate | InvalidRequest::UnknownDisk
        )
    }

    /// Whether it is refused before a command is begun.
    pub(super) fn is_refused_at_once(self) -> bool {
        matches!(
            self,
            InvalidRequest::NotJson
                | InvalidRequest::Array
                | InvalidRequest::StrayBytes
                | InvalidRequest::UnknownCommand
                | InvalidRequest::BadId
                | InvalidRequest::TextLine
                | InvalidRequest::BareVerb
                | InvalidRequest::NoVerb
        )
    }
}
