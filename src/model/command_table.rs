//! The table of commands: a row for each, with its name, its access rule and its order.

use super::anonymous_access::AccessGroup;
use super::dialect::Dialect;
use crate::ids::CustomId;

/// The rules of one command.
#[derive(Debug)]
pub struct Spec {
    /// The name in logs and counters.
    pub name: &'static str,
    /// The names of its counters: requests started, done, failed.
    pub counters: [&'static str; 3],
    /// The dialect that has it.
    pub dialect: Dialect,
    /// Who may run it.
    pub access: Access,
    /// How it relates to other requests of its connection.
    pub order: Order,
    /// What a token in the request is for.
    pub token: TokenUse,
}

/// Who may run a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Every client.
    Public,
    /// Every client, where registration is open.
    Registration,
    /// An authenticated VM. An operator is none. What it may do to other VMs is up to the command: the server's own
    /// commands let a VM change itself only.
    Vm,
    /// An authenticated VM, as with `Vm`, or an operator.
    VmOrOperator,
    /// A reader; a VM or an operator as with `VmOrOperator`.
    Reader,
    /// An operator: root or the server's own user, on the socket in the state directory. For other clients, the command
    /// does not exist.
    Operator,
    /// Every client, where the listener opens the group (`?open=…`); otherwise an authenticated VM.
    Open(AccessGroup),
    /// As `Open`. The server's own commands with this rule let a VM do all that every client may; for an added command
    /// there is no difference.
    OpenOrAnyVm(AccessGroup),
    /// As `Open`; an operator on every listener that has operators.
    OpenOrOperator(AccessGroup),
    /// As `OpenOrOperator`; a reader on every listener as well.
    OpenOrReader(AccessGroup),
    /// Every client, where registration and the group are open.
    OpenRegistration(AccessGroup),
}

/// How a command relates to other requests of its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The reactor answers it directly, without a job.
    Inline,
    /// It may overlap with others.
    Plain,
    /// It changes the store. Consecutive writes overlap, and are done in the order in which they came; reads and barriers
    /// wait for the writes before them.
    Write,
    /// Later requests wait until it is done: it may change the identity that they run under.
    Barrier,
    /// It reads the store, and its answer may come in pages.
    Paged,
}

/// What a token in a request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenUse {
    /// It proves the client's identity.
    Proof,
    /// Nothing.
    Ignored,
}

/// Defines [`CommandName`] and the table. A row: variant, name, dialect, access, order, token.
macro_rules! commands {
    ($($variant:ident $name:literal $dialect:ident $access:expr, $order:ident, $token:ident;)*) => {
        /// A [`Command`](super::Command) without its data: the index of its row.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(missing_docs)]
        pub enum CommandName {
            $($variant,)*
            /// A command or verb that the embedding program adds.
            Custom(CustomId),
        }

        #[derive(Clone, Copy)]
        enum Row {
            $($variant,)*
        }

        impl CommandName {
            /// All commands of the server, in the order of the table.
            pub const ALL: &[CommandName] = &[$(CommandName::$variant,)*];

            /// Its index: the server's own commands come first, then the added ones.
            pub fn index(self) -> usize {
                match self {
                    $(CommandName::$variant => Row::$variant as usize,)*
                    CommandName::Custom(id) => CommandName::ALL.len() + id.index(),
                }
            }
        }

        static TABLE: [Spec; CommandName::ALL.len()] = [
            $(Spec {
                name: $name,
                counters: [
                    concat!("requests_", $name),
                    concat!("requests_", $name, "_ok"),
                    concat!("requests_", $name, "_failed"),
                ],
                dialect: Dialect::$dialect,
                access: $access,
                order: Order::$order,
                token: TokenUse::$token,
            },)*
        ];
    };
}

use Access::{
    Open, OpenOrAnyVm, OpenOrOperator, OpenOrReader, OpenRegistration, Operator, Public, Reader,
    Registration, VmOrOperator,
};
use AccessGroup::{Action, Convert, Metrics, Page, Verb};

commands! {
    Ping "ping" Command Public, Inline, Ignored;
    Register "register" Command Registration, Barrier, Ignored;
    Authenticate "authenticate" Command Public, Barrier, Ignored;
    List "list" Command Reader, Paged, Proof;
    Update "update" Command VmOrOperator, Write, Proof;
    Logout "logout" Command VmOrOperator, Barrier, Proof;
    Add "add" Command Operator, Barrier, Proof;
    Remove "remove" Command Operator, Barrier, Proof;
    Passwd "passwd" Command Operator, Barrier, Proof;
    EndSessions "end_sessions" Command Operator, Barrier, Proof;
    Stats "stats" Command Operator, Inline, Proof;
    Stop "stop" Command Operator, Plain, Proof;
    AddVm "add_vm" Action OpenRegistration(Action), Write, Proof;
    ActionList "action_list" Action OpenOrReader(Action), Paged, Proof;
    AuthorizeVm "authorize_vm" Action Open(Action), Barrier, Proof;
    ConnectVm "connect_vm" Action Open(Action), Barrier, Proof;
    LogoutVm "logout_vm" Action Open(Action), Barrier, Proof;
    UpdateVm "update_vm" Action Open(Action), Write, Proof;
    VerbStat "verb_stat" Verb OpenOrAnyVm(Verb), Inline, Proof;
    VerbCreate "verb_create" Verb OpenOrAnyVm(Verb), Plain, Proof;
    VerbDestroy "verb_destroy" Verb OpenOrAnyVm(Verb), Plain, Proof;
    UnknownVerb "unknown_verb" Verb Operator, Inline, Proof;
    Convert "convert" Conversion OpenOrAnyVm(Convert), Plain, Proof;
    Health "health" Command Public, Plain, Proof;
    Put "put" Command OpenOrOperator(Metrics), Write, Proof;
    Get "get" Command OpenOrReader(Metrics), Paged, Proof;
    Watch "watch" Command OpenOrReader(Page), Paged, Proof;
    Unwatch "unwatch" Command OpenOrReader(Page), Barrier, Proof;
    Web "web" Web OpenOrReader(Page), Paged, Proof;
}

/// The row of every added command. Its name, dialect and access are in
/// [`CustomCommands`](super::custom::CustomCommands).
static CUSTOM: Spec = Spec {
    name: "custom",
    counters: ["requests_custom", "requests_custom_ok", "requests_custom_failed"],
    dialect: Dialect::Command,
    access: Operator,
    order: Order::Plain,
    token: TokenUse::Proof,
};

impl CommandName {
    /// Its row of the table; for an added command, what all added commands have in common.
    pub fn spec(self) -> &'static Spec {
        TABLE.get(self.index()).unwrap_or(&CUSTOM)
    }

    /// The name in logs and counters.
    pub fn as_str(self) -> &'static str {
        self.spec().name
    }

    /// Whether later requests of the connection wait until this one is done.
    pub fn is_barrier(self) -> bool {
        self.spec().order == Order::Barrier
    }

    /// Whether it changes the store, and reads wait for it.
    pub fn is_write(self) -> bool {
        self.spec().order == Order::Write
    }

    /// Whether the answer may come in pages.
    pub fn is_paged(self) -> bool {
        self.spec().order == Order::Paged
    }

    /// Whether the reactor answers it directly, without a job.
    pub fn is_inline(self) -> bool {
        self.spec().order == Order::Inline
    }

    /// Whether a token in the request is ignored.
    pub fn ignores_token(self) -> bool {
        self.spec().token == TokenUse::Ignored
    }
}
