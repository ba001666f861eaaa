//! Access rights: every command by each kind of client, over every framing, on listeners that open the dialects or none
//! of them, with registration open and closed. A refused request changes nothing.

use serde_json::{Value, json};

use vmherd::internals::dialect::decode_json;
use vmherd::internals::model::{Access, CommandName};

use crate::common::{Client, Daemon, PASSWORD};
use crate::program_client::{Endpoint, Framing, ProgramClient};
use crate::programs::fetch;
use crate::role_table::{ANNA, BERT, CARL, Cell, Row, rows};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asker {
    Anonymous,
    Anna,
    Reader,
    Operator,
}

/// The groups that a listener opens to anonymous clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Opens {
    All,
    Conversions,
    Metrics,
    Page,
    Nothing,
}

#[test]
fn the_table_holds_with_open_registration() {
    let daemon = daemon_with_vms().args(["--store", "memory:"]).start();
    make_vms(&mut daemon.client());
    hold_the_table(&daemon, true, None);
}

#[test]
fn the_table_holds_with_closed_registration() {
    let mut before = daemon_with_vms().start();
    make_vms(&mut before.client());
    before.stop();
    let builder = daemon_with_vms().on_state_dir_of(&before).args(["--registration", "closed"]);
    let daemon = builder.start();
    let reader = daemon.reader_token("grafana");
    hold_the_table(&daemon, false, Some(&reader));
}

/// Where all is closed a token in the data counts as a login: on a persistent connection for later requests as well, over
/// HTTP for that request. An authenticated client cannot use the token of another VM.
#[test]
fn a_token_in_the_data_grants_closed_commands() {
    let daemon = daemon_with_vms().start();
    let mut client = daemon.client();
    make_vms(&mut client);
    let (own, other) = (client.authenticate(ANNA), client.authenticate(BERT));
    for framing in Framing::ALL {
        let mut program = ProgramClient::new(framing, Endpoint::Tcp(daemon.addresses()[1]));
        let update = json!({"action": "update_vm", "vm_id": 1, "ram": 5});
        let mut with_token = update.clone();
        with_token["data"] = json!({"token": own});
        assert_eq!(program.call(&update), json!({"error": "authentication required"}), "{framing:?}");
        assert_eq!(program.call(&with_token), json!({"status": "vm updated"}), "{framing:?}");
        with_token["vm_id"] = json!(2);
        assert_eq!(program.call(&with_token), json!({"error": "vm not authenticated"}), "{framing:?}");
        let after = match framing.is_persistent() {
            true => json!({"status": "vm updated"}),
            false => json!({"error": "authentication required"}),
        };
        assert_eq!(program.call(&update), after, "{framing:?}");
        for list in [
            json!({"command": "list", "data": {"list_type": "all_vms", "token": other}}),
            json!({"action": "list_all_vms", "data": {"token": other}}),
        ] {
            let reply = program.call(&list);
            if framing.is_persistent() {
                assert_eq!(reply, refusal(&list, Cell::No("Token belongs to another VM")), "{framing:?}");
            } else {
                assert!(is_success(&list, &reply), "{framing:?}: {reply}");
            }
        }
        program.close();
    }
}

/// Metrics text has no login, so it works only where it is open to anonymous clients.
#[test]
fn metrics_text_is_for_listeners_that_open_it() {
    const CLOSED: &str = "error\nauthentication required\n\n";
    const WRONG: &str = "error\nwrong command\n\n";
    let daemon = daemon_with_vms().start();
    let batch = "put k 1 1\nput k 2 2\nnonsense\nput k 3 3\nget k\nget *\nput k\n";
    let opens = [true, false, false, true, false];
    for (address, is_open) in daemon.addresses().iter().zip(opens) {
        let mut client = Client::connect(*address);
        client.send(batch);
        client.half_close();
        let points = "k 1.0 1\nk 2.0 2\nk 3.0 3\n";
        let expected = match is_open {
            true => format!("ok\n\nok\n\n{WRONG}ok\n\nok\n{points}\nok\n{points}\n{WRONG}"),
            false => [CLOSED, CLOSED, WRONG, CLOSED, CLOSED, CLOSED, WRONG].concat(),
        };
        assert_eq!(client.rest(), expected, "{address}");
    }
    for (address, is_open) in daemon.addresses().iter().zip(opens) {
        let mut client = Client::connect(*address);
        let points: String = (0..2000).map(|second| format!("put {address} 1 {second}\n")).collect();
        client.send(&points);
        client.half_close();
        let reply = if is_open { "ok\n\n" } else { CLOSED };
        assert_eq!(client.rest(), reply.repeat(2000), "{address}");
    }
    let mut operator = daemon.operator();
    for (address, is_open) in daemon.addresses().iter().zip(opens) {
        let count = operator.call_text(&format!("get {address}")).lines().count();
        assert_eq!(count, if is_open { 2002 } else { 2 }, "{address}");
    }
}

#[test]
fn every_restricted_command_has_a_row() {
    let rows = rows();
    let restricted = CommandName::ALL.iter().filter(|command| command.spec().access != Access::Public);
    for command in restricted {
        assert!(rows.iter().any(|row| row.command == *command), "{command:?} has no row");
    }
    for Row { command, request, .. } in rows {
        let decoded =
            decode_json(request.to_string().as_bytes(), &Default::default()).ok().map(|request| request.name);
        let is_by_get = matches!(command, CommandName::Health | CommandName::Web);
        let expected = Some(command).filter(|_| !is_by_get);
        assert_eq!(decoded, expected, "{request}");
    }
}

fn daemon_with_vms() -> crate::common::Builder {
    let builder =
        Daemon::builder().listen("tcp://127.0.0.1:0?open=").listen("tcp://127.0.0.1:0?open=convert");
    let builder = builder.listen("tcp://127.0.0.1:0?open=metrics").listen("tcp://127.0.0.1:0?open=page");
    // The table has wrong passwords, more than are answered without a delay by default.
    builder.args(["--conversion-delay", "0", "--login-failures", "none"])
}

/// Checks every cell of the table, on a daemon that knows the three VMs.
#[track_caller]
fn hold_the_table(daemon: &Daemon, registers: bool, reader: Option<&str>) {
    let tcp = |index: usize| Endpoint::Tcp(daemon.addresses()[index]);
    let own_socket = Endpoint::Unix(daemon.own_socket());
    let askers = [Asker::Anonymous, Asker::Anna, Asker::Reader];
    let strangers = &askers[..if reader.is_some() { 3 } else { 2 }];
    let operators = &[Asker::Operator, Asker::Anna];
    let listeners = [
        (tcp(0), Opens::All, strangers),
        (tcp(1), Opens::Nothing, strangers),
        (tcp(2), Opens::Conversions, strangers),
        (tcp(3), Opens::Metrics, strangers),
        (tcp(4), Opens::Page, strangers),
        // A client that authenticates there is no longer an operator.
        (own_socket, Opens::All, operators),
    ];
    let mut observer = Observer::new(daemon);
    for (place, opens, askers) in listeners {
        for asker in askers.iter().copied() {
            for framing in Framing::ALL {
                let mut program = ProgramClient::new(framing, place.clone());
                let rows = rows().into_iter().enumerate().filter(|(_, row)| is_told(opens, row));
                for (number, mut row) in rows {
                    let is_watch = matches!(row.command, CommandName::Watch | CommandName::Unwatch);
                    if is_watch && framing == Framing::Http {
                        let (status, reply) = program.post(&row.request.to_string());
                        assert!(status == 400 && reply.contains("use WebSocket"), "{status} {reply}");
                        continue;
                    }
                    match reader.filter(|_| asker == Asker::Reader) {
                        Some(token) if framing == Framing::Http => program.use_token(token),
                        // Only the data of these dialects has room for a token.
                        Some(_) if row.request.get("data").is_some_and(Value::is_string) => continue,
                        Some(_) if row.request.get("verb").is_some() => continue,
                        Some(token) => row.request["data"]["token"] = json!(token),
                        None => {}
                    }
                    let at = format!("row {number} by {asker:?} over {framing:?}, opens {opens:?}: {row:?}");
                    hold_cell(&mut program, asker, row, opens, registers, &mut observer, &at);
                    if is_watch {
                        // A login would end the watch with a message.
                        std::mem::replace(&mut program, ProgramClient::new(framing, place.clone())).close();
                    }
                }
                program.close();
                if framing == Framing::Http {
                    assert_eq!(health(&place), (200, "ok\n".to_owned()), "for {asker:?}, opens {opens:?}");
                }
            }
        }
    }
}

/// Whether the row is checked on a listener that opens this much: a listener that opens metrics is checked with those
/// and two other dialects, the one for the page with the dialect `command`.
fn is_told(opens: Opens, row: &Row) -> bool {
    use CommandName::{ActionList, Convert, Get, Put};
    match opens {
        Opens::Metrics => matches!(row.command, Put | Get | Convert | ActionList),
        Opens::Page => row.request.get("command").is_some(),
        Opens::All | Opens::Conversions | Opens::Nothing => true,
    }
}

fn hold_cell(
    program: &mut ProgramClient,
    asker: Asker,
    row: Row,
    opens: Opens,
    registers: bool,
    observer: &mut Observer,
    at: &str,
) {
    use CommandName::{ActionList, Convert, Get, List, Put, Unwatch, Watch};
    let opens = match opens {
        Opens::All => true,
        Opens::Conversions => row.command == Convert,
        Opens::Metrics => matches!(row.command, Put | Get),
        Opens::Page => matches!(row.command, Watch | Unwatch),
        Opens::Nothing => false,
    };
    let cell = match (row.command, asker) {
        (CommandName::Register | CommandName::AddVm, _) if !registers => Cell::Closed,
        (_, Asker::Anonymous) if opens => row.open[0],
        (_, Asker::Anna) if opens => row.open[1],
        (List | ActionList | Get | Watch | Unwatch, Asker::Reader) | (_, Asker::Operator) => row.open[2],
        (_, Asker::Reader) if opens => row.open[0],
        (_, Asker::Anonymous | Asker::Reader) => row.closed[0],
        (_, Asker::Anna) => row.closed[1],
    };
    become_asker(program, asker);
    let before = observer.look_with_vm_3();
    let mut request = row.request;
    if matches!(row.command, CommandName::Register | CommandName::Add) {
        request["data"]["vm_id"] = json!(observer.new_name());
    }
    match (row.command, request["data"].get_mut("points")) {
        (CommandName::Put, Some(points)) => points[0]["value"] = observer.new_number(),
        (CommandName::Put, None) => request["data"]["value"] = observer.new_number(),
        _ => {}
    }
    let reply = program.call(&request);
    match cell {
        Cell::Yes => assert!(is_success(&request, &reply), "{at}: {reply}"),
        refused => {
            assert_eq!(reply, refusal(&request, refused), "{at}");
            assert_eq!(observer.look(), before, "{at} has changed something");
        }
    }
}

/// Logs the client in or out as `asker`.
fn become_asker(program: &mut ProgramClient, asker: Asker) {
    let credentials = json!({"vm_id": ANNA, "password": PASSWORD});
    match asker {
        Asker::Anonymous | Asker::Reader | Asker::Operator if program.framing().is_persistent() => {
            program.call(&json!({"command": "logout"}));
        }
        Asker::Anonymous | Asker::Reader | Asker::Operator => {}
        Asker::Anna => {
            // A token that has ended would be refused with any request.
            program.use_no_token();
            let reply = program.call(&json!({"command": "authenticate", "data": credentials}));
            let token = reply["data"]["token"].as_str().unwrap_or_else(|| panic!("no token: {reply}"));
            if !program.framing().is_persistent() {
                program.use_token(token);
            }
        }
    }
}

/// The shape of a refusal in the request's dialect.
fn refusal(request: &Value, cell: Cell) -> Value {
    let is_command = request.get("command").is_some();
    if request.get("verb").is_some() {
        let message = match cell {
            Cell::Login => "Bad authentication (Authentication required)",
            Cell::No(words) => words,
            _ => panic!("no refusal of a verb: {cell:?}"),
        };
        return json!({"success": false, "message": message, "data": {}});
    }
    let words = match cell {
        Cell::Yes => panic!("no refusal"),
        Cell::Login if is_command => "You have to authenticate to run this operation",
        Cell::Login => "authentication required",
        Cell::Unknown => "Unknown command",
        Cell::Closed if is_command => "Registration is closed",
        Cell::Closed => "registration is closed",
        Cell::No(words) => words,
    };
    match request.get("request_id") {
        _ if is_command => json!({"status": "error", "message": words, "data": {}}),
        Some(id) => json!({"request_id": id, "error": words}),
        None => json!({"error": words}),
    }
}

fn is_success(request: &Value, reply: &Value) -> bool {
    if request.get("command").is_some() {
        return reply["status"] == "success" && reply["data"].is_object();
    }
    if request.get("verb").is_some() {
        return reply["success"] == true;
    }
    reply.is_object() && reply.get("error").is_none()
}

fn make_vms(client: &mut Client) {
    client.register(ANNA, &[1]);
    client.register(BERT, &[2]);
    let reply = client.call(json!({"action": "add_vm", "ram": 512, "disks": [3]}));
    assert_eq!(reply, json!({"status": "vm added", "vm_id": 3}));
    client.register(CARL, &[]);
}

fn health(place: &Endpoint) -> (u16, String) {
    let answer = match place {
        Endpoint::Tcp(address) => fetch([&format!("http://{address}/healthz")]),
        Endpoint::Unix(path) => {
            fetch(["--unix-socket", path.to_str().expect("a plain path"), "http://localhost/healthz"])
        }
    };
    (answer.status, answer.body)
}

/// A client that can list everything: VM 2, on the listener that opens all.
struct Observer {
    client: Client,
    /// The last new number.
    number: u32,
}

impl Observer {
    #[track_caller]
    fn new(daemon: &Daemon) -> Observer {
        let mut client = daemon.client();
        client.authenticate(BERT);
        Observer { client, number: 0 }
    }

    /// The state with VM 3 connected again, if a request has ended that.
    fn look_with_vm_3(&mut self) -> Value {
        let seen = self.look();
        let mut connected = seen["list_connected_vms"].as_array().into_iter().flatten();
        if connected.any(|vm| vm["id"] == 3) {
            return seen;
        }
        let reply = self.client.call(json!({"action": "connect", "vm_id": 3}));
        assert_eq!(reply, json!({"status": "connected and authenticated"}));
        self.look()
    }

    /// All VMs, disks and points, and the authorized, connected and ever connected VMs. Without the VM that asks: a failed
    /// login ends the one before.
    fn look(&mut self) -> Value {
        let mut seen = json!({"vms": self.client.list("all_vms"), "disks": self.client.list("all_disks")});
        seen["points"] = self.client.succeed("get", json!({"key": "*"}));
        for list in ["list_authorized_vms", "list_connected_vms", "list_ever_connected"] {
            let reply = self.client.call(json!({"action": list}));
            let members = reply.as_object().and_then(|reply| reply.values().next()?.as_array());
            let others = members.expect("a list").iter().filter(|vm| vm["id"] != 1);
            seen[list] = others.cloned().collect();
        }
        seen
    }

    fn new_name(&mut self) -> String {
        format!("vm-{}", self.new_number())
    }

    fn new_number(&mut self) -> Value {
        self.number += 1;
        self.number.into()
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.command, self.request)
    }
}
