//! Why a request failed, and the message that most dialects give for it.

use std::borrow::Cow;

use super::command::BadField;
use crate::ids::DiskId;

/// Why a request failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The message is not valid JSON; the parser's error with its position.
    InvalidJson(String),
    /// The memory for requests is full, and this client holds the largest share.
    RequestMemoryFull,
    /// Valid JSON that is not a request; the reason.
    NotARequest(String),
    /// A field of the request breaks a rule.
    BadField(BadField),
    /// The command does not exist, or this client must not run it.
    UnknownCommand,
    /// The list does not exist.
    UnknownList,
    /// The update changes nothing.
    EmptyUpdate,
    /// The command requires authentication.
    AuthenticationRequired,
    /// Unknown name, wrong password, or a VM without a password. The reply never distinguishes them.
    InvalidCredentials,
    /// The token is unknown or has expired.
    InvalidToken,
    /// The token belongs to another VM than the one authenticated on the connection.
    TokenOfAnotherVm,
    /// The name is taken.
    AlreadyRegistered,
    /// Registration is closed on this listener.
    RegistrationClosed,
    /// The store is at its VM limit.
    VmLimitReached,
    /// The store is at its limit of metric keys. For an atomic `put` of several points: the index of the first point
    /// that needs a new key.
    KeyLimitReached(Option<usize>),
    /// The VM has no disk with this id.
    UnknownDisk(DiskId),
    /// The numeric VM id is missing or malformed.
    MissingVmId,
    /// No VM has this id.
    UnknownVm,
    /// The VM is not authorized for this client.
    NotAuthorized,
    /// A field that describes a VM is missing or invalid; the dialect reports no details.
    InvalidVmShape,
    /// A queue is full; nothing was done.
    Busy,
    /// The store did not answer; nothing was done.
    StoreUnavailable,
    /// The store did not confirm the commit: it may or may not have happened.
    OutcomeUnknown,
    /// An internal error.
    Internal,
    /// The request exceeds this limit, in bytes.
    TooLarge(usize),
    /// The request was not complete in time.
    TimedOut,
    /// The input ended in the middle of a request.
    UnexpectedEnd,
    /// A text line that is not a valid command.
    UnknownTextCommand,
    /// A text line that begins like JSON.
    JsonLine,
    /// A text line whose timestamp is outside the allowed range.
    TimeOutOfRange,
    /// A text line exceeds the length limit.
    LineTooLong,
    /// A text line with control characters or invalid UTF-8.
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
