//! Who may run what: decides by the rows of the table of commands, for every dialect.

use crate::model::{Access, AnonymousAccess, CommandName, Principal};

/// What a client may do with a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permission {
    /// Run it.
    Allowed,
    /// Run it for its own VM, as long as the login holds.
    AllowedAsItself,
    /// Nothing before it has authenticated.
    AuthenticationRequired,
    /// Nothing: registration is closed on this listener.
    RegistrationClosed,
    /// Nothing: to this client the command does not exist.
    Unknown,
}

/// What `principal` may do with `command` on a listener with these rules.
pub fn permission(
    command: CommandName,
    principal: &Principal,
    open_registration: bool,
    anonymous_access: AnonymousAccess,
) -> Permission {
    let vm_or = |permission| match principal {
        Principal::Vm(_) => permission,
        Principal::Anonymous | Principal::Operator => Permission::AuthenticationRequired,
    };
    match command.spec().access {
        Access::Registration | Access::OpenRegistration(_) if !open_registration => {
            Permission::RegistrationClosed
        }
        Access::Public | Access::Registration => Permission::Allowed,
        Access::Open(group) | Access::OpenOrAnyVm(group) | Access::OpenRegistration(group)
            if anonymous_access.contains(group) =>
        {
            Permission::Allowed
        }
        Access::Vm | Access::Open(_) => vm_or(Permission::AllowedAsItself),
        Access::OpenOrAnyVm(_) => vm_or(Permission::Allowed),
        // A VM registers others by the dialect `command` only.
        Access::OpenRegistration(_) => vm_or(Permission::RegistrationClosed),
        Access::Operator if *principal == Principal::Operator => Permission::Allowed,
        Access::Operator => Permission::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::VmId;
    use crate::model::{AccessGroup, Login, VmName};

    /// What is promised for each command and principal, on listeners that open everything and nothing.
    #[test]
    fn rights_are_as_promised() {
        use Permission::{Allowed, AllowedAsItself, AuthenticationRequired, RegistrationClosed, Unknown};
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
        for (command, open, closed) in &rows {
            let command = *command;
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
                    principals
                        .each_ref()
                        .map(|who| permission(command, who, open_registration, anonymous_access))
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
