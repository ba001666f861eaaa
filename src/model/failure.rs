//! Why a request failed, and the message that most dialects give for it.

use std::borrow::Cow;

use super::command::BadField;
use crate::ids::DiskId;

/// Why something was not done. Each dialect has its own words for these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Not JSON: why not, and where.
    InvalidJson(String),
    /// The memory for requests is full, and this client holds most of it.
    RequestMemoryFull,
    /// JSON, but nothing that can be run: why not.
    NotARequest(String),
    /// A field of the request breaks a rule.
    BadField(BadField),
    /// There is no such command, or not for this client.
    UnknownCommand,
    /// There is no such list.
    UnknownList,
    /// An update that says nothing.
    EmptyUpdate,
    /// Only for those who have authenticated.
    AuthenticationRequired,
    /// Unknown name, wrong password or no password to compare with: never told apart.
    InvalidCredentials,
    /// No such token, or not any more.
    InvalidToken,
    /// A token of another VM than the one authenticated on the connection.
    TokenOfAnotherVm,
    /// The name is taken.
    AlreadyRegistered,
    /// This listener registers nobody.
    RegistrationClosed,
    /// The store holds as many VMs as it may.
    VmLimitReached,
    /// There are as many keys of metrics as there may be; the place of the first point with another, where several
    /// were to be kept all or none.
    KeyLimitReached(Option<usize>),
    /// The VM has no disk of that id.
    UnknownDisk(DiskId),
    /// No number of a VM where there has to be one.
    MissingVmId,
    /// No VM has that number.
    UnknownVm,
    /// Nobody has authorized that VM, or not whoever asks.
    NotAuthorized,
    /// What a VM is to be made of is missing or breaks a rule; not told how.
    InvalidVmShape,
    /// A limit on what waits was reached; nothing was done.
    Busy,
    /// The store did not answer; nothing was done.
    StoreUnavailable,
    /// The store did not say whether it was done.
    OutcomeUnknown,
    /// A fault of ours.
    Internal,
    /// The request has more bytes than it may; the number says how many.
    TooLarge(usize),
    /// The request's last byte did not come in time.
    TimedOut,
    /// The input ended inside a request.
    UnexpectedEnd,
    /// A line of text that is no command.
    UnknownTextCommand,
    /// The same, of one that begins as JSON does.
    JsonLine,
    /// A line of text that puts a point at a time that none may have.
    TimeOutOfRange,
    /// A line of text has more bytes than it may.
    LineTooLong,
    /// A line of text that is none: control characters, or not UTF-8.
    BadText,
}

impl Failure {
    /// The message of the JSON dialects. A dialect that words a failure differently overrides it.
    pub fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Failure::InvalidJson(error) => return format!("Invalid JSON: {error}").into(),
            Failure::NotARequest(reason) => return reason.clone().into(),
            Failure::BadField(bad_field) => return bad_field.to_string().into(),
            Failure::UnknownCommand => "Unknown command",
            Failure::UnknownList => "Unknown list command type",
            Failure::EmptyUpdate => "No fields for update",
            Failure::AuthenticationRequired => "authentication required",
            Failure::InvalidCredentials => "Invalid credentials",
            Failure::InvalidToken => "Invalid access token. Try refreshing with the 'authenticate' command",
            Failure::TokenOfAnotherVm => "Token belongs to another VM",
            Failure::AlreadyRegistered => "VM is already registered",
            Failure::RegistrationClosed => "Registration is closed",
            Failure::VmLimitReached => "VM limit reached",
            Failure::UnknownDisk(id) => return format!("disks: the VM has no disk with id {}", id.0).into(),
            Failure::MissingVmId => "required data: vm_id",
            Failure::UnknownVm => "VM ID does not exist",
            Failure::NotAuthorized => "vm not authenticated",
            Failure::InvalidVmShape => "required data: ram, disks",
            Failure::Busy => "busy",
            Failure::RequestMemoryFull => "busy: clients have filled the memory that there is for requests",
            Failure::StoreUnavailable => "store unavailable",
            Failure::OutcomeUnknown => "outcome unknown",
            Failure::Internal => "internal error",
            Failure::TooLarge(bytes_max) => {
                return format!("Request too large: it may have at most {bytes_max} bytes").into();
            }
            Failure::TimedOut => "Request timeout: the request did not end in time",
            Failure::UnexpectedEnd => "Invalid JSON: the input ended inside a request",
            Failure::KeyLimitReached(None) => "key limit reached",
            Failure::KeyLimitReached(Some(index)) => {
                return format!("key limit reached (points[{index}])").into();
            }
            Failure::UnknownTextCommand | Failure::JsonLine => "wrong command",
            Failure::TimeOutOfRange => "timestamp out of range",
            Failure::LineTooLong => "line too long",
            Failure::BadText => "bad text",
        })
    }
}
