//! Why a request failed: the table of failures, each with the message that most dialects give for it, and the name of
//! its counter.

use std::borrow::Cow;

use super::command::BadField;
use crate::ids::DiskId;

/// Defines [`Failure`]. A row: variant, counter, message.
macro_rules! failures {
    ($($(#[$doc:meta])* $variant:ident $(($field:ident: $type:ty))?, $code:literal, $message:expr;)*) => {
        /// Why a request failed.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum Failure {
            $($(#[$doc])* $variant $(($type))?,)*
        }

        impl Failure {
            /// The message of the JSON dialects. A dialect that words a failure differently overrides it.
            pub fn message(&self) -> Cow<'static, str> {
                match self {
                    $(Failure::$variant $(($field))? => $message.into(),)*
                }
            }

            /// The name of its counter.
            pub fn code(&self) -> &'static str {
                match self {
                    $(Failure::$variant { .. } => $code,)*
                }
            }
        }
    };
}

failures! {
    /// The message is not valid JSON; the parser's error with its position.
    InvalidJson(error: String), "failed_invalid_json", format!("Invalid JSON: {error}");
    /// The memory for requests is full, and this client holds the largest share.
    RequestMemoryFull, "failed_no_room", "busy: clients have filled the memory that there is for requests";
    /// Valid JSON that is not a request; the reason.
    NotARequest(reason: String), "failed_no_request", reason.clone();
    /// A request of the dialect `verb` without its shape.
    MalformedRequest, "failed_malformed_request", "Malformed request";
    /// A field of the request breaks a rule.
    BadField(bad_field: BadField), "failed_bad_field", bad_field.0.clone();
    /// The command does not exist, or this client must not run it.
    UnknownCommand, "failed_unknown_command", "Unknown command";
    /// The list does not exist.
    UnknownList, "failed_unknown_list", "Unknown list command type";
    /// The update changes nothing.
    EmptyUpdate, "failed_no_fields", "No fields for update";
    /// The command requires authentication.
    AuthenticationRequired, "failed_authentication_required", "authentication required";
    /// Unknown name, wrong password, or a VM without a password. The reply never distinguishes them.
    InvalidCredentials, "failed_invalid_credentials", "Invalid credentials";
    /// The token is unknown or has expired.
    InvalidToken, "failed_invalid_token", "Invalid access token. Try refreshing with the 'authenticate' command";
    /// A verb without the access token that the listener demands.
    AccessTokenRequired, "failed_access_token_required", "Access token is required";
    /// The access token is unknown or disabled. The reply never distinguishes them.
    InvalidAccessToken, "failed_invalid_access_token", "Invalid access token";
    /// The token belongs to another VM than the one authenticated on the connection.
    TokenOfAnotherVm, "failed_token_of_another_vm", "Token belongs to another VM";
    /// The name is taken.
    AlreadyRegistered, "failed_already_registered", "VM is already registered";
    /// Registration is closed on this listener.
    RegistrationClosed, "failed_registration_closed", "Registration is closed";
    /// The store is at its VM limit.
    VmLimitReached, "failed_vm_limit_reached", "VM limit reached";
    /// The store is at its limit of metric keys. For an atomic `put` of several points: the index of the first point
    /// that needs a new key.
    KeyLimitReached(index: Option<usize>), "failed_key_limit_reached", match index {
        Some(index) => Cow::from(format!("key limit reached (points[{index}])")),
        None => Cow::from("key limit reached"),
    };
    /// The VM has no disk with this id.
    UnknownDisk(id: DiskId), "failed_unknown_disk", format!("disks: the VM has no disk with id {}", id.0);
    /// The numeric VM id is missing or malformed.
    MissingVmId, "failed_no_vm_number", "required data: vm_id";
    /// No VM has this id.
    UnknownVm, "failed_unknown_vm", "VM ID does not exist";
    /// A server runs the VM: no client changes it.
    ManagedVm, "failed_managed_vm", "the VM is managed by a server, which alone changes it";
    /// No VM has this name.
    NoSuchVm, "failed_no_such_vm", "VM does not exist";
    /// This server does not run the VM.
    NotManagedHere, "failed_not_managed_here", "the VM is not managed by this server";
    /// The VM is not authorized for this client.
    NotAuthorized, "failed_not_authorized", "vm not authenticated";
    /// A field that describes a VM is missing or invalid; the dialect reports no details.
    InvalidVmShape, "failed_bad_shape", "required data: ram, disks";
    /// The server creates no containers.
    NoHypervisor, "failed_no_hypervisor", "No hypervisor";
    /// There are as many containers as may be.
    ContainerLimitReached, "failed_container_limit_reached", "Running containers maximum amount was reached";
    /// Changes that a client watches are not kept any more, or never were.
    TooFarBehind, "failed_too_far_behind", "too far behind, list again";
    /// A queue is full; nothing was done.
    Busy, "failed_busy", "busy";
    /// The store did not answer; nothing was done.
    StoreUnavailable, "failed_store_unavailable", "store unavailable";
    /// The store did not confirm the commit: it may or may not have happened.
    OutcomeUnknown, "failed_outcome_unknown", "outcome unknown";
    /// An internal error.
    Internal, "failed_internal", "internal error";
    /// The request exceeds this limit, in bytes.
    TooLarge(bytes_max: usize), "failed_too_large", format!("Request too large: it may have at most {bytes_max} bytes");
    /// The request was not complete in time.
    TimedOut, "failed_timed_out", "Request timeout: the request did not end in time";
    /// The input ended in the middle of a request.
    UnexpectedEnd, "failed_cut_short", "Invalid JSON: the input ended inside a request";
    /// A text line that is not a valid command.
    UnknownTextCommand, "failed_wrong_command", "wrong command";
    /// A text line that begins like JSON.
    JsonLine, "failed_wrong_command", "wrong command";
    /// A text line whose timestamp is outside the allowed range.
    TimeOutOfRange, "failed_time_out_of_range", "timestamp out of range";
    /// A text line exceeds the length limit.
    LineTooLong, "failed_line_too_long", "line too long";
    /// A text line with control characters or invalid UTF-8.
    BadText, "failed_bad_text", "bad text";
}

impl From<BadField> for Failure {
    fn from(bad_field: BadField) -> Failure {
        Failure::BadField(bad_field)
    }
}
