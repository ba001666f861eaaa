//! Who may run what: one table, for every dialect. What it does not allow is denied.

use crate::model::{AccessGroup, AnonymousAccess, CommandName, Principal};

/// The table's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Yes.
    Allowed,
    /// Yes, as the VM that it is: for that VM only, and as long as the login holds.
    AllowedAsItself,
    /// Not before somebody has authenticated.
    AuthenticationRequired,
    /// Nobody registers on this listener.
    RegistrationClosed,
    /// This client is not even told that there is such a command.
    Unknown,
}

/// Whether `principal` may run `command` on a listener where `open_registration` says whether anybody may register,
/// and that opens the dialects `anonymous_access` to everybody.
pub fn access(
    command: CommandName,
    principal: &Principal,
    open_registration: bool,
    anonymous_access: AnonymousAccess,
) -> Access {
    use CommandName::{ActionList, AddVm, Authenticate, AuthorizeVm, ConnectVm, Convert, Health, List};
    use CommandName::{Get, Logout, LogoutVm, Ping, Put, Register, Stats, Update, UpdateVm};
    match (command, principal) {
        (Register | AddVm, _) if !open_registration => Access::RegistrationClosed,
        (Ping | Register | Authenticate | Health, _) => Access::Allowed,
        (List | Update | Logout, Principal::Vm(_)) => Access::AllowedAsItself,
        (List | Update | Logout, Principal::Anonymous | Principal::Operator) => {
            Access::AuthenticationRequired
        }
        (Stats, Principal::Operator) => Access::Allowed,
        (Stats, Principal::Anonymous | Principal::Vm(_)) => Access::Unknown,
        (Convert, _) if anonymous_access.contains(AccessGroup::Convert) => Access::Allowed,
        (Convert, Principal::Vm(_)) => Access::Allowed,
        (Convert, Principal::Anonymous | Principal::Operator) => Access::AuthenticationRequired,
        (Put | Get, _) if anonymous_access.contains(AccessGroup::Metrics) => Access::Allowed,
        (Put | Get, Principal::Vm(_)) => Access::AllowedAsItself,
        (Put | Get, Principal::Anonymous | Principal::Operator) => Access::AuthenticationRequired,
        (AddVm | ActionList | AuthorizeVm | ConnectVm | LogoutVm | UpdateVm, _)
            if anonymous_access.contains(AccessGroup::Action) =>
        {
            Access::Allowed
        }
        (ActionList | AuthorizeVm | ConnectVm | LogoutVm | UpdateVm, Principal::Vm(_)) => {
            Access::AllowedAsItself
        }
        // To register is open to a VM here as well, but not by this dialect.
        (AddVm, Principal::Vm(_)) => Access::RegistrationClosed,
        (
            AddVm | ActionList | AuthorizeVm | ConnectVm | LogoutVm | UpdateVm,
            Principal::Anonymous | Principal::Operator,
        ) => Access::AuthenticationRequired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::VmId;
    use crate::model::{Login, VmName};

    /// Every command against every principal, on a listener that opens everything and on one that opens
    /// nothing; a new command has no row and fails.
    #[test]
    fn the_table_is_as_promised() {
        use Access::{Allowed, AllowedAsItself, AuthenticationRequired, RegistrationClosed, Unknown};
        let vm = Principal::Vm(Login { id: VmId(1), epoch: 0, name: VmName::from_store("a") });
        let principals = [Principal::Anonymous, vm, Principal::Operator];
        let vms_own = [AuthenticationRequired, AllowedAsItself, AuthenticationRequired];
        let (all, closed) = ([Allowed; 3], vms_own);
        let rows = [
            (CommandName::Ping, all, all),
            (CommandName::Register, all, all),
            (CommandName::Authenticate, all, all),
            (CommandName::List, vms_own, vms_own),
            (CommandName::Update, vms_own, vms_own),
            (CommandName::Logout, vms_own, vms_own),
            (CommandName::Stats, [Unknown, Unknown, Allowed], [Unknown, Unknown, Allowed]),
            (CommandName::Convert, all, [AuthenticationRequired, Allowed, AuthenticationRequired]),
            (CommandName::Health, all, all),
            (CommandName::AddVm, all, [AuthenticationRequired, RegistrationClosed, AuthenticationRequired]),
            (CommandName::ActionList, all, closed),
            (CommandName::AuthorizeVm, all, closed),
            (CommandName::ConnectVm, all, closed),
            (CommandName::LogoutVm, all, closed),
            (CommandName::UpdateVm, all, closed),
            (CommandName::Put, all, closed),
            (CommandName::Get, all, closed),
        ];
        for command in CommandName::ALL {
            let row = rows.iter().find(|row| row.0 == command);
            let (_, open, closed) = row.unwrap_or_else(|| panic!("{command:?} has no row"));
            let group = match command {
                CommandName::Convert => AccessGroup::Convert,
                CommandName::Put | CommandName::Get => AccessGroup::Metrics,
                _ => AccessGroup::Action,
            };
            let only_it = [group].into_iter().collect();
            let all_others = AccessGroup::ALL.into_iter().filter(|other| *other != group).collect();
            for (anonymous_access, wanted) in [
                (AnonymousAccess::ALL, open),
                (only_it, open),
                (AnonymousAccess::NONE, closed),
                (all_others, closed),
            ] {
                let found = |open_registration| {
                    principals.each_ref().map(|who| access(command, who, open_registration, anonymous_access))
                };
                assert_eq!(found(true), *wanted, "{command:?} where {anonymous_access} is open");
                let wanted = match command {
                    CommandName::Register | CommandName::AddVm => &[RegistrationClosed; 3],
                    _ => wanted,
                };
                assert_eq!(
                    found(false),
                    *wanted,
                    "{command:?} where registration is closed, {anonymous_access} is open"
                );
            }
        }
    }
}
