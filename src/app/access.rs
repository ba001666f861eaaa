//! Access control: who may run which command, by the table of commands, for all dialects.

use crate::model::{Access, AnonymousAccess, Principal};

/// What a client may do with a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permission {
    /// Run it.
    Allowed,
    /// Run it for its own VM, while the login is valid.
    AllowedAsItself,
    /// Run it only after authentication.
    AuthenticationRequired,
    /// Not run it: registration is closed on this listener.
    RegistrationClosed,
    /// Not see it: the command does not exist for this client.
    Unknown,
}

/// The identity of a request's client, and what its listener allows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rights {
    /// The identity.
    pub principal: Principal,
    /// It may register a VM without authentication.
    pub open_registration: bool,
    /// The command groups that it may use without authentication.
    pub anonymous_access: AnonymousAccess,
}

/// The permission of a client with these rights for a command with this access rule.
pub fn permission(access: Access, rights: &Rights) -> Permission {
    let Rights { principal, open_registration, anonymous_access } = rights;
    let vm_or = |permission| match principal {
        Principal::Vm(_) => permission,
        Principal::Anonymous | Principal::Reader(_) | Principal::Operator => {
            Permission::AuthenticationRequired
        }
    };
    match access {
        Access::Registration | Access::OpenRegistration(_) if !*open_registration => {
            Permission::RegistrationClosed
        }
        Access::Public | Access::Registration => Permission::Allowed,
        Access::Open(group)
        | Access::OpenOrAnyVm(group)
        | Access::OpenOrOperator(group)
        | Access::OpenOrReader(group)
        | Access::OpenRegistration(group)
            if anonymous_access.contains(group) =>
        {
            Permission::Allowed
        }
        Access::VmOrOperator
        | Access::Reader
        | Access::OpenOrOperator(_)
        | Access::OpenOrReader(_)
        | Access::Operator
            if *principal == Principal::Operator =>
        {
            Permission::Allowed
        }
        Access::Reader | Access::OpenOrReader(_) if matches!(principal, Principal::Reader(_)) => {
            Permission::Allowed
        }
        Access::Vm
        | Access::VmOrOperator
        | Access::Reader
        | Access::Open(_)
        | Access::OpenOrOperator(_)
        | Access::OpenOrReader(_) => vm_or(Permission::AllowedAsItself),
        Access::OpenOrAnyVm(_) => vm_or(Permission::Allowed),
        // A VM registers other VMs only in the dialect `command`.
        Access::OpenRegistration(_) => vm_or(Permission::RegistrationClosed),
        Access::Operator => Permission::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AccessTokenId, VmId};
    use crate::model::{AccessGroup, CommandName, Login, Reader, VmName};

    /// The documented rights of each command and principal, on listeners that open everything and nothing.
    #[test]
    fn rights_are_as_documented() {
        use Permission::{Allowed, AllowedAsItself, AuthenticationRequired, RegistrationClosed, Unknown};
        let name = VmName::from_store("a");
        let vm = Principal::Vm(Login { id: VmId(1), epoch: 0, name: name.clone() });
        let reader = Principal::Reader(Reader { token: AccessTokenId(1), name });
        let principals = [Principal::Anonymous, vm, reader, Principal::Operator];
        let (all, none) = ([Allowed; 4], AuthenticationRequired);
        let vms_own = [none, AllowedAsItself, none, none];
        let any_vm = [none, Allowed, none, none];
        let vm_or_operator = [none, AllowedAsItself, none, Allowed];
        let reads = [none, AllowedAsItself, Allowed, Allowed];
        let operator = [Unknown, Unknown, Unknown, Allowed];
        let rows = [
            (CommandName::Ping, all, all),
            (CommandName::Register, all, all),
            (CommandName::Authenticate, all, all),
            (CommandName::List, reads, reads),
            (CommandName::Update, vm_or_operator, vm_or_operator),
            (CommandName::Logout, vm_or_operator, vm_or_operator),
            (CommandName::Add, operator, operator),
            (CommandName::Remove, operator, operator),
            (CommandName::Passwd, operator, operator),
            (CommandName::EndSessions, operator, operator),
            (CommandName::Stats, operator, operator),
            (CommandName::Stop, operator, operator),
            (CommandName::VerbStat, all, any_vm),
            (CommandName::VerbCreate, all, any_vm),
            (CommandName::VerbDestroy, all, any_vm),
            (CommandName::UnknownVerb, operator, operator),
            (CommandName::Convert, all, any_vm),
            (CommandName::Health, all, all),
            (CommandName::AddVm, all, [none, RegistrationClosed, none, none]),
            (CommandName::ActionList, all, reads),
            (CommandName::AuthorizeVm, all, vms_own),
            (CommandName::ConnectVm, all, vms_own),
            (CommandName::LogoutVm, all, vms_own),
            (CommandName::UpdateVm, all, vms_own),
            (CommandName::Put, all, vm_or_operator),
            (CommandName::Get, all, reads),
            (CommandName::Watch, all, reads),
            (CommandName::Unwatch, all, reads),
            (CommandName::Web, all, reads),
        ];
        let missing = CommandName::ALL.iter().find(|command| rows.iter().all(|(row, ..)| row != *command));
        assert_eq!(missing, None, "each command has a row");
        for (command, open, closed) in &rows {
            let command = *command;
            let group = match command {
                CommandName::VerbStat | CommandName::VerbCreate | CommandName::VerbDestroy => {
                    AccessGroup::Verb
                }
                CommandName::Convert => AccessGroup::Convert,
                CommandName::Put | CommandName::Get => AccessGroup::Metrics,
                CommandName::Watch | CommandName::Unwatch | CommandName::Web => AccessGroup::Page,
                _ => AccessGroup::Action,
            };
            let only_this = [group].into_iter().collect();
            let all_others = AccessGroup::ALL.into_iter().filter(|other| *other != group).collect();
            for (anonymous_access, wanted) in [
                (AnonymousAccess::ALL, open),
                (only_this, open),
                (AnonymousAccess::NONE, closed),
                (all_others, closed),
            ] {
                let found = |open_registration| {
                    principals.clone().map(|principal| {
                        permission(
                            command.spec().access,
                            &Rights { principal, open_registration, anonymous_access },
                        )
                    })
                };
                assert_eq!(found(true), *wanted, "{command:?} where {anonymous_access} is open");
                let wanted = match command {
                    CommandName::Register | CommandName::AddVm => &[RegistrationClosed; 4],
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
