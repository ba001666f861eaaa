//! Every command with its results by kind of client, as documented.

use serde_json::{Value, json};

use vmherd::internals::model::CommandName;

use crate::common::PASSWORD;

/// The VM that asks has the number 1. VM 2 has a password and is connected; VM 3 has none, and is connected for all
/// clients; 999 is unknown.
pub(crate) const ANNA: &str = "anna";
pub(crate) const BERT: &str = "bert";
/// Has a password and no connection.
pub(crate) const CARL: &str = "carl";

/// The result of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cell {
    /// It is done.
    Yes,
    /// The client has to authenticate first.
    Login,
    /// There is no such command for this client.
    Unknown,
    /// Registration is closed.
    Closed,
    /// Refused because of its data, with this message; the same for all clients with the right.
    No(&'static str),
}

/// A request, and its results.
pub(crate) struct Row {
    pub(crate) command: CommandName,
    pub(crate) request: Value,
    /// On a listener that opens all dialects: for an anonymous client, VM 1, and the operator.
    pub(crate) open: [Cell; 3],
    /// On one that opens none: for an anonymous client and VM 1.
    pub(crate) closed: [Cell; 2],
}

/// Every command, with requests that differ in their results.
pub(crate) fn rows() -> Vec<Row> {
    use Cell::{Closed, Login, No, Unknown, Yes};
    let row = |command, request, open, closed| Row { command, request, open, closed };
    let command = |name: &str, data: Value| json!({"command": name, "data": data});
    let action = |name: &str, vm: u64| json!({"action": name, "vm_id": vm});
    let with_password = |name: &str, vm: u64| json!({"action": name, "vm_id": vm, "password": PASSWORD});
    let (all, all_closed) = ([Yes; 3], [Yes; 2]);
    // Commands of VMs.
    let vms_closed = [Login, Yes];
    // An operator names the VM.
    let no_vm = No("missing field: vm_id");
    let credentials = |password: &str| json!({"vm_id": BERT, "password": password});
    let (wrong, unknown_vm, not_authorized) =
        (No("Invalid credentials"), No("VM ID does not exist"), No("vm not authenticated"));
    let no_such_vm = No("VM does not exist");
    let create = json!({"verb": "CREATE", "parameters": {}});
    let destroy = json!({"verb": "DESTROY", "parameters": {}});
    let (no_hypervisor, no_container) = (No("Unavailable (No hypervisor)"), No("Bad authentication"));
    let mut rows = vec![
        row(CommandName::Ping, command("ping", json!({})), all, all_closed),
        row(CommandName::Register, command("register", shape()), all, all_closed),
        row(CommandName::Authenticate, command("authenticate", credentials(PASSWORD)), all, all_closed),
        row(
            CommandName::Authenticate,
            command("authenticate", credentials("wrong password")),
            [wrong; 3],
            [wrong; 2],
        ),
        row(CommandName::Update, command("update", json!({"ram": 7})), [Login, Yes, no_vm], vms_closed),
        row(CommandName::Logout, command("logout", json!({})), [Login, Yes, no_vm], vms_closed),
        row(CommandName::Stats, command("stats", json!({})), [Unknown, Unknown, Yes], [Unknown; 2]),
        row(
            CommandName::Stop,
            command("stop", json!({"vm_id": BERT})),
            [Unknown, Unknown, No("the VM is not managed by this server")],
            [Unknown; 2],
        ),
        row(
            CommandName::Stop,
            command("stop", json!({"vm_id": "unknown"})),
            [Unknown, Unknown, no_such_vm],
            [Unknown; 2],
        ),
        row(CommandName::Put, command("put", point()), all, vms_closed),
        row(CommandName::Put, command("put", json!({"points": [point()]})), all, vms_closed),
        row(CommandName::Get, command("get", json!({"key": "*"})), all, vms_closed),
        row(CommandName::Watch, command("watch", json!({"what": ["points:none."]})), all, vms_closed),
        row(CommandName::Unwatch, command("unwatch", json!({})), all, vms_closed),
        row(CommandName::Convert, json!({"request_id": 7, "data": "Hub&&id&&1"}), all, vms_closed),
        row(CommandName::VerbStat, json!({"verb": "STAT", "parameters": {}}), all, vms_closed),
        row(CommandName::VerbCreate, create, [no_hypervisor; 3], [Login, no_hypervisor]),
        row(CommandName::VerbDestroy, destroy, [no_container; 3], [Login, no_container]),
        row(
            CommandName::UnknownVerb,
            json!({"verb": "REBOOT", "parameters": {}}),
            [No("Bad request (Unknown verb)"); 3],
            [No("Bad request (Unknown verb)"); 2],
        ),
        // By GET only.
        row(CommandName::Health, command("health", json!({})), [Unknown; 3], [Unknown; 2]),
        row(CommandName::Web, command("web", json!({})), [Unknown; 3], [Unknown; 2]),
        row(CommandName::AddVm, json!({"action": "add_vm", "ram": 512, "disks": [5]}), all, [Login, Closed]),
    ];
    for (disk, refusal) in
        [(2, No("disks: the VM has no disk with id 2")), (999, No("disks: the VM has no disk with id 999"))]
    {
        let request = command("update", json!({"disks": [{"id": disk, "disk_size": 9}]}));
        rows.push(row(CommandName::Update, request, [Login, refusal, no_vm], [Login, refusal]));
    }
    for (name, text, data, result) in [
        (CommandName::Update, "update", json!({"vm_id": CARL, "ram": 9}), Yes),
        (CommandName::Update, "update", json!({"vm_id": "unknown", "ram": 9}), no_such_vm),
        (CommandName::Logout, "logout", json!({"vm_id": CARL}), Yes),
        (CommandName::Logout, "logout", json!({"vm_id": "unknown"}), no_such_vm),
    ] {
        let of_vm = match name {
            CommandName::Update => No("unknown field \"vm_id\"; allowed: ram, cpu, disks, token"),
            _ => No("unknown field \"vm_id\"; allowed: token"),
        };
        rows.push(row(name, command(text, data), [Login, of_vm, result], [Login, of_vm]));
    }
    for (name, text, data, result) in [
        (CommandName::Add, "add", shape(), Yes),
        (CommandName::Remove, "remove", json!({"vm_id": "unknown"}), no_such_vm),
        (CommandName::Passwd, "passwd", json!({"vm_id": CARL, "password": PASSWORD}), Yes),
        (CommandName::Passwd, "passwd", json!({"vm_id": "unknown", "password": PASSWORD}), no_such_vm),
        (CommandName::EndSessions, "end_sessions", json!({"vm_id": CARL}), Yes),
        (CommandName::EndSessions, "end_sessions", json!({"vm_id": "unknown"}), no_such_vm),
    ] {
        rows.push(row(name, command(text, data), [Unknown, Unknown, result], [Unknown; 2]));
    }
    for list in ["active_vms", "authenticated_vms", "all_vms", "all_disks"] {
        let request = command("list", json!({"list_type": list}));
        rows.push(row(CommandName::List, request, [Login, Yes, Yes], vms_closed));
    }
    for list in
        ["list_all_vms", "list_all_disks", "list_authorized_vms", "list_connected_vms", "list_ever_connected"]
    {
        rows.push(row(CommandName::ActionList, json!({"action": list}), all, vms_closed));
    }
    for (name, action_name) in
        [(CommandName::AuthorizeVm, "authenticate"), (CommandName::ConnectVm, "connect")]
    {
        let mut add = |request, open, closed| rows.push(row(name, request, [open; 3], [Login, closed]));
        add(with_password(action_name, 1), Yes, Yes);
        add(action(action_name, 1), wrong, wrong);
        add(with_password(action_name, 2), Yes, unknown_vm);
        add(action(action_name, 2), wrong, unknown_vm);
        add(action(action_name, 3), Yes, unknown_vm);
        add(action(action_name, 999), unknown_vm, unknown_vm);
    }
    for (name, action_name) in [(CommandName::LogoutVm, "logout_vm"), (CommandName::UpdateVm, "update_vm")] {
        for (vm, open, closed) in [
            (1, [not_authorized, Yes, not_authorized], Yes),
            (2, [not_authorized; 3], not_authorized),
            (3, [Yes; 3], not_authorized),
            (999, [not_authorized; 3], not_authorized),
        ] {
            let request = json!({"action": action_name, "vm_id": vm, "ram": 9});
            rows.push(row(name, request, open, [Login, closed]));
        }
    }
    rows
}

fn shape() -> Value {
    json!({"vm_id": "new", "ram": 512, "cpu": 1, "password": PASSWORD, "disks": []})
}

fn point() -> Value {
    json!({"key": "k", "value": 0, "timestamp": 2})
}
