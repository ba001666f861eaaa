//! The identity that a request runs under.

use super::access_token::Reader;
use super::name::VmName;
use crate::ids::{ServerId, VmId};

/// The identity of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    /// The client has not authenticated.
    Anonymous,
    /// A VM that sent its password or one of its tokens.
    Vm(Login),
    /// A client that sent a reader's token with this request.
    Reader(Reader),
    /// The superuser or the daemon's user, on the control socket.
    Operator,
}

/// An authenticated VM. Valid only while the store has the VM at this epoch: removing the VM or changing its
/// password invalidates it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Login {
    /// The VM.
    pub id: VmId,
    /// Counts the VM's password changes, and how often an operator has ended its logins.
    pub epoch: i64,
    /// The VM's name.
    pub name: VmName,
}

/// What a token stands for that a request has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenOwner {
    /// A login of a VM.
    Vm(Login),
    /// A reader.
    Reader(Reader),
}

/// What a password is checked against.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// The login that a correct password yields.
    pub login: Login,
    /// The password's hash in PHC form; `None` for a VM without a password.
    pub password_hash: Option<String>,
    /// The server that runs the VM, if one does.
    pub managed_by: Option<ServerId>,
}
