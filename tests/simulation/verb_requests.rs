//! Requests for `STAT`, and for the verbs and commands that the simulated embedding program adds.

use vmherd::internals::model::{Access, AccessGroup, CustomKind};

/// How a client names a verb.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum VerbForm {
    /// In a message.
    Message,
    /// By the path of a POST, whose body is the parameters.
    Post,
    /// By the path of a POST without a body.
    PostNothing,
    /// By the path of a GET.
    Get,
}

impl VerbForm {
    pub(super) const ALL: [VerbForm; 4] =
        [VerbForm::Message, VerbForm::Post, VerbForm::PostNothing, VerbForm::Get];
}

/// An added verb or command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Custom {
    Probe,
    Reboot,
    /// Every client may run it.
    Inspect,
    /// A command for VMs.
    Report,
}

/// A request for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CustomRequest {
    pub(super) custom: Custom,
    pub(super) form: VerbForm,
    /// A number that no other request has. The answer repeats it.
    pub(super) mark: u64,
    /// Characters of a further parameter.
    pub(super) filler: usize,
    pub(super) token: Option<usize>,
}

impl Custom {
    /// All of them, in the order of their ids.
    pub(super) const ALL: [Custom; 4] = [Custom::Probe, Custom::Reboot, Custom::Inspect, Custom::Report];

    pub(super) fn name(self) -> &'static str {
        match self {
            Custom::Probe => "PROBE",
            Custom::Reboot => "REBOOT",
            Custom::Inspect => "inspect",
            Custom::Report => "report",
        }
    }

    pub(super) fn kind(self) -> CustomKind {
        match self {
            Custom::Probe | Custom::Reboot => CustomKind::Verb,
            Custom::Inspect | Custom::Report => CustomKind::Command,
        }
    }

    /// Who may run it.
    pub(super) fn access(self) -> Access {
        match self {
            Custom::Probe | Custom::Reboot => Access::OpenOrAnyVm(AccessGroup::Verb),
            Custom::Inspect => Access::Public,
            Custom::Report => Access::Vm,
        }
    }

    /// The paths that name it.
    pub(super) fn paths(self) -> [&'static str; 3] {
        match self {
            Custom::Probe => ["/probe", "/PROBE", "/Probe"],
            _ => ["/reboot", "/REBOOT", "/rebooT"],
        }
    }
}

impl CustomRequest {
    pub(super) fn is_verb(self) -> bool {
        self.custom.kind() == CustomKind::Verb
    }

    /// The request as it is sent where there are no paths and no header fields.
    pub(super) fn without_http(self) -> CustomRequest {
        let token = self.token.filter(|_| !self.is_verb());
        CustomRequest { form: VerbForm::Message, token, ..self }
    }

    /// The request's text. `id` is the field of its id, `token` that of its token.
    pub(super) fn text(self, id: &str, token: &str) -> String {
        let CustomRequest { custom, form, mark, filler, .. } = self;
        let (name, filler) = (custom.name(), "x".repeat(filler));
        let parameters = format!("\"mark\": {mark}, \"filler\": \"{filler}\"");
        match (self.is_verb(), form) {
            (false, _) => {
                format!("{{{id}\"command\": \"{name}\", \"data\": {{{parameters}, {token}}}}}")
            }
            (true, VerbForm::Message) => {
                format!("{{{id}\"verb\": \"{name}\", \"parameters\": {{{parameters}}}}}")
            }
            (true, _) => format!("{{{parameters}}}"),
        }
    }
}

/// The paths of `STAT`.
pub(super) const STAT_PATHS: [&str; 3] = ["/stat", "/STAT", "/Stat"];
