//! The containers that clients have, and their requests for `CREATE` and `DESTROY`.

use super::random::Random;
use super::verb_requests::VerbForm;
use vmherd::internals::clock::Instant;
use vmherd::internals::ids::ContainerId;
use vmherd::internals::limits;

/// The shared knowledge of all fake clients about containers.
#[derive(Default)]
pub(super) struct ContainerModel {
    /// Those whose answers have come, or that were there before.
    pub(super) known: Vec<KnownContainer>,
    /// Requests for `CREATE` that were sent, and containers that were there before.
    pub(super) creations: usize,
}

/// A container that a client has.
pub(super) struct KnownContainer {
    pub(super) id: ContainerId,
    pub(super) token: String,
    /// `None`: it was there before.
    pub(super) client: Option<usize>,
    /// Since when the server knows, at the latest, that the client has it.
    pub(super) kept_since: Option<Instant>,
    /// Requests for `DESTROY` with its credentials that were sent.
    pub(super) releases: usize,
    /// One of those has succeeded.
    pub(super) is_destroyed: bool,
}

/// A request for `CREATE` or `DESTROY`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ContainerRequest {
    pub(super) kind: ContainerRequestKind,
    pub(super) form: VerbForm,
    pub(super) token: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ContainerRequestKind {
    Create,
    /// `DESTROY` of a known container.
    Destroy(usize),
    /// The same with another token.
    WrongToken(usize),
    /// `DESTROY` of a container that never was, with the token of a known one.
    WrongId(usize),
    /// `DESTROY` without credentials.
    NoCredentials,
    /// `DESTROY` without a token.
    NoToken(usize),
}

impl KnownContainer {
    /// One that a client has just got.
    pub(super) fn new(id: ContainerId, token: &str, client: Option<usize>) -> KnownContainer {
        let token = token.to_owned();
        KnownContainer { id, token, client, kept_since: None, releases: 0, is_destroyed: false }
    }
}

impl ContainerModel {
    /// A random request.
    pub(super) fn choose(&self, random: &mut Random) -> ContainerRequest {
        let form = random.pick(&[VerbForm::Message, VerbForm::Post]);
        let kind = match self.known.len() {
            0 => ContainerRequestKind::Create,
            _ if random.chance(55) => ContainerRequestKind::Create,
            count => {
                // Most often one of the last.
                let container = count - 1 - random.mostly_few(0, count - 1);
                match random.between(0, 9) {
                    0..=5 => ContainerRequestKind::Destroy(container),
                    6 => ContainerRequestKind::WrongToken(container),
                    7 => ContainerRequestKind::WrongId(container),
                    8 => ContainerRequestKind::NoToken(container),
                    _ => ContainerRequestKind::NoCredentials,
                }
            }
        };
        let is_empty = matches!(kind, ContainerRequestKind::Create | ContainerRequestKind::NoCredentials);
        let form = if is_empty && random.chance(20) { VerbForm::PostNothing } else { form };
        ContainerRequest { kind, form, token: None }
    }
}

impl ContainerRequest {
    fn name(self) -> &'static str {
        if self.kind == ContainerRequestKind::Create { "CREATE" } else { "DESTROY" }
    }

    /// The paths that name its verb.
    pub(super) fn paths(self) -> [&'static str; 3] {
        match self.kind {
            ContainerRequestKind::Create => ["/create", "/CREATE", "/cReate"],
            _ => ["/destroy", "/DESTROY", "/Destroy"],
        }
    }

    /// The request as it is sent where there are no paths and no header fields.
    pub(super) fn without_http(self) -> ContainerRequest {
        ContainerRequest { form: VerbForm::Message, token: None, ..self }
    }

    /// The request's text. `id` is the field of its id.
    pub(super) fn text(self, id: &str, model: &ContainerModel) -> String {
        let credentials =
            |id: &str, token: &str| format!("\"container_uuid\": \"{id}\", \"client_token\": \"{token}\"");
        let parameters = match self.kind {
            ContainerRequestKind::Create | ContainerRequestKind::NoCredentials => "\"other\": 1".to_owned(),
            ContainerRequestKind::Destroy(at) => {
                let known = &model.known[at];
                credentials(&known.id.to_string(), &known.token)
            }
            ContainerRequestKind::WrongToken(at) => {
                let known = &model.known[at];
                let last = if known.token.ends_with('A') { "B" } else { "A" };
                let token = format!("{}{last}", &known.token[..limits::CONTAINER_TOKEN_CHARS - 1]);
                credentials(&known.id.to_string(), &token)
            }
            ContainerRequestKind::WrongId(at) => credentials(NO_CONTAINER, &model.known[at].token),
            ContainerRequestKind::NoToken(at) => format!("\"container_uuid\": \"{}\"", model.known[at].id),
        };
        match self.form {
            VerbForm::Message => {
                format!("{{{id}\"verb\": \"{}\", \"parameters\": {{{parameters}}}}}", self.name())
            }
            VerbForm::PostNothing => String::new(),
            _ => format!("{{{parameters}}}"),
        }
    }
}

/// The id of a container that never was.
const NO_CONTAINER: &str = "00000000-0000-4000-8000-000000000000";
