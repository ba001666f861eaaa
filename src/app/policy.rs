//! Who may run what: one table, for every dialect. What it does not allow is denied.

use crate::model::{CommandName, Principal};

/// The table's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Yes.
    Allowed,
    /// Not before somebody has authenticated.
    AuthenticationRequired,
    /// Nobody registers on this listener.
    RegistrationClosed,
    /// This client is not even told that there is such a command.
    Unknown,
}

/// Whether `principal` may run `command` on a listener where `registers` says whether anybody may register.
pub fn verdict(command: CommandName, principal: &Principal, registers: bool) -> Verdict {
    use CommandName::{Authenticate, Convert, Health, List, Logout, Ping, Register, Stats, Update};
    match (command, principal) {
        (Register, _) if !registers => Verdict::RegistrationClosed,
        (Ping | Register | Authenticate | Convert | Health, _) => Verdict::Allowed,
        (List | Update | Logout, Principal::Vm(_)) => Verdict::Allowed,
        (List | Update | Logout, Principal::Anonymous | Principal::Operator) => {
            Verdict::AuthenticationRequired
        }
        (Stats, Principal::Operator) => Verdict::Allowed,
        (Stats, Principal::Anonymous | Principal::Vm(_)) => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::VmId;
    use crate::model::{Login, VmName};

    /// Every command against every principal; a new command has no row and fails.
    #[test]
    fn the_table_is_as_promised() {
        use Verdict::{Allowed, AuthenticationRequired, RegistrationClosed, Unknown};
        let vm = Principal::Vm(Login { id: VmId(1), epoch: 0, name: VmName::stored("a") });
        let principals = [Principal::Anonymous, vm, Principal::Operator];
        let rows = [
            (CommandName::Ping, [Allowed, Allowed, Allowed]),
            (CommandName::Register, [Allowed, Allowed, Allowed]),
            (CommandName::Authenticate, [Allowed, Allowed, Allowed]),
            (CommandName::List, [AuthenticationRequired, Allowed, AuthenticationRequired]),
            (CommandName::Update, [AuthenticationRequired, Allowed, AuthenticationRequired]),
            (CommandName::Logout, [AuthenticationRequired, Allowed, AuthenticationRequired]),
            (CommandName::Stats, [Unknown, Unknown, Allowed]),
            (CommandName::Convert, [Allowed, Allowed, Allowed]),
            (CommandName::Health, [Allowed, Allowed, Allowed]),
        ];
        for command in CommandName::ALL {
            let row = rows.iter().find(|row| row.0 == command);
            let (_, wanted) = row.unwrap_or_else(|| panic!("{command:?} has no row"));
            let found = principals.each_ref().map(|principal| verdict(command, principal, true));
            assert_eq!(&found, wanted, "{command:?}");
            let closed = principals.each_ref().map(|principal| verdict(command, principal, false));
            let wanted = if command == CommandName::Register { &[RegistrationClosed; 3] } else { wanted };
            assert_eq!(&closed, wanted, "{command:?} where registration is closed");
        }
    }
}
