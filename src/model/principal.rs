//! Who asks.

use super::name::VmName;
use crate::ids::VmId;

/// In whose name a request is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    /// Nobody has said who it is.
    Anonymous,
    /// A VM that gave its password or a token of its own.
    Vm(Login),
    /// The superuser or the daemon's own user, on the daemon's own socket.
    Operator,
}

/// A VM as it proved itself to be. Worth something only as long as the store has that VM at that
/// epoch: removing the VM or changing its password ends it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    /// The VM.
    pub id: VmId,
    /// Counts the VM's password changes.
    pub epoch: i64,
    /// The VM's name.
    pub name: VmName,
}

/// What the store knows to check a password against.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Whom the password proves.
    pub login: Login,
    /// The password's hash in PHC form; `None` for a VM without a password.
    pub password_hash: Option<String>,
}
