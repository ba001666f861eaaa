//! Authentication over HTTP: tokens that count for one request, and requests that foreign web pages make a browser send.

use serde_json::{Value, json};

use vmherd::internals::dialect::decode_json;
use vmherd::internals::model::CommandName;

use crate::common::{Daemon, PASSWORD, registration, request};
use crate::http::{assert_error, assert_pong, url};
use crate::programs::{Answer, curl, fetch, succeed};

#[test]
fn a_token_authenticates_one_http_request() {
    let daemon = Daemon::builder().listen("tcp://127.0.0.1:0?open=").start();
    let url = format!("http://{}/", daemon.addresses()[1]);
    let mut client = daemon.client();
    client.register("a", &[1]);
    client.register("b", &[1]);
    let (token, revoked) = (login(&url, "a"), login(&url, "a"));
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let (own, other) = (bearer(&token), bearer(&revoked));
    let list = request("list", json!({"list_type": "authenticated_vms"}));
    let ask = |header: &str, request: &Value| fetch(["-H", header, "-d", &request.to_string(), &url]);
    let (_, reply) = ask(&own, &list).json();
    // The connection has no principal.
    assert_eq!(reply, json!({"status": "success", "message": null, "data": {"authenticated_vms": []}}));
    ask(&other, &request("logout", json!({}))).json();

    let unknown = "0".repeat(64);
    for header in [bearer(&unknown), other.clone(), bearer("short")] {
        for request in
            [list.clone(), json!({"action": "list_all_vms"}), json!({"request_id": 1, "data": "a&&b&&c"})]
        {
            let answer = ask(&header, &request);
            let (status, mut reply) = answer.json();
            if let Some(id) = request.get("request_id") {
                assert_eq!(
                    reply.as_object_mut().and_then(|reply| reply.remove("request_id")).as_ref(),
                    Some(id)
                );
            }
            let words = "Invalid access token. Try refreshing with the 'authenticate' command";
            assert_eq!((status, reply), (401, json!({"status": "error", "message": words, "data": {}})));
            assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer"));
        }
    }
    for header in [
        "Authorization: Basic dXNlcjpwYXNz",
        "Authorization: Bearer",
        "Authorization: Bearer a b",
        "Authorization: Bearer =",
    ] {
        let answer = ask(header, &request("ping", json!({})));
        assert_error(&answer, 401);
        assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer"), "{header}");
    }
    let twice = fetch(["-H", &own, "-H", &own, "-d", &list.to_string(), &url]);
    assert_error(&twice, 401);

    // Commands that read no token from their data reject one in the head all the same, before anything is done.
    let credentials = json!({"vm_id": "a", "password": PASSWORD});
    for request in [
        request("ping", json!({})),
        registration("c", &[]),
        request("authenticate", credentials.clone()),
        request("put", json!({"key": "k", "value": 1})),
        request("get", json!({"key": "*"})),
    ] {
        assert_error(&ask(&bearer(&unknown), &request), 401);
        assert_eq!(ask(&own, &request).status, 200);
    }
    assert_pong(&ask(&own, &request("ping", json!({}))));
    assert_pong(&fetch(["-d", &request("ping", json!({"token": unknown})).to_string(), &url]));
    // In the data an invalid token is an error of the dialect; two different ones are an error of HTTP.
    let mut with_token = list.clone();
    with_token["data"]["token"] = json!(unknown);
    let (status, reply) = fetch(["-d", &with_token.to_string(), &url]).json();
    assert_eq!((status, &reply["status"]), (200, &json!("error")));
    assert_error(&ask(&own, &with_token), 400);
    let of_another = login(&url, "b");
    for (dialect, request) in [
        ("command", request("list", json!({"list_type": "all_vms", "token": of_another}))),
        ("action", json!({"action": "list_all_vms", "data": {"token": of_another}})),
    ] {
        assert_eq!(fetch(["-d", &request.to_string(), &url]).status, 200, "{dialect}");
        assert_error(&ask(&own, &request), 400);
        assert_eq!(ask(&bearer(&of_another), &request).status, 200, "{dialect}: the same twice");
    }
}

/// Every command rejects an unknown token in the head before it checks rights and data, and nothing is done.
#[test]
fn an_unknown_token_is_rejected_by_every_command() {
    let daemon = Daemon::start();
    daemon.client().register("a", &[1]);
    let credentials = json!({"vm_id": "a", "password": PASSWORD});
    let mut requests = vec![
        request("ping", json!({})),
        registration("b", &[]),
        request("authenticate", credentials),
        request("list", json!({"list_type": "all_vms"})),
        request("update", json!({"ram": 7})),
        request("update", json!({"ram": "not a number"})),
        request("logout", json!({})),
        request("put", json!({"key": "k", "value": 1})),
        request("get", json!({"key": "*"})),
        json!({"action": "add_vm", "ram": 1, "disks": [1]}),
        json!({"action": "list_all_vms"}),
        json!({"action": "authenticate", "vm_id": 1, "password": PASSWORD}),
        json!({"action": "connect", "vm_id": 1, "password": PASSWORD}),
        json!({"action": "logout_vm", "vm_id": 1}),
        json!({"action": "update_vm", "vm_id": 1, "ram": 7}),
        json!({"request_id": 1, "data": "a&&b&&c"}),
        json!({"verb": "STAT", "parameters": {}}),
        json!({"verb": "CREATE", "parameters": {}}),
        json!({"verb": "DESTROY", "parameters": {}}),
    ];
    let operators = [
        request("stats", json!({})),
        request("stop", json!({"vm_id": "a"})),
        request("add", json!({"vm_id": "b", "ram": 1, "cpu": 1, "disks": []})),
        request("remove", json!({"vm_id": "a"})),
        request("passwd", json!({"vm_id": "a", "password": "another password"})),
        request("end_sessions", json!({"vm_id": "a"})),
    ];
    let header = format!("Authorization: Bearer {}", "0".repeat(64));
    let url = url(&daemon);
    let rejects = |answer: &Answer, request: &Value| {
        let (status, reply) = answer.json();
        let words = "Invalid access token. Try refreshing with the 'authenticate' command";
        assert_eq!((status, &reply["message"]), (401, &json!(words)), "{request}");
        assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer"), "{request}");
    };
    for request in &requests {
        rejects(&fetch(["-H", &header, "-d", &request.to_string(), &url]), request);
    }
    // A command that does not exist for the client is reported as such.
    for request in operators {
        let answer = fetch(["-H", &header, "-d", &request.to_string(), &url]);
        assert_eq!(assert_error(&answer, 200), "Unknown command");
        requests.push(request);
    }
    let unknown_verb = json!({"verb": "REBOOT", "parameters": {}});
    let (status, reply) = fetch(["-H", &header, "-d", &unknown_verb.to_string(), &url]).json();
    assert_eq!((status, &reply["message"]), (200, &json!("Bad request (Unknown verb)")));
    requests.push(unknown_verb);
    let socket = daemon.own_socket();
    for request in &requests {
        let socket = socket.to_str().expect("a plain path");
        let text = request.to_string();
        let arguments = ["--unix-socket", socket, "-H", &header, "-d", &text, "http://localhost/"];
        rejects(&fetch(arguments), request);
    }
    let tested = requests.iter().map(|request| {
        decode_json(request.to_string().as_bytes(), &Default::default()).expect("a request").name
    });
    let tested: Vec<CommandName> = tested.collect();
    let untested = CommandName::ALL.iter().filter(|name| !tested.contains(name));
    use CommandName::{Health, Unwatch, Watch, Web};
    let not_by_post = [&Health, &Watch, &Unwatch, &Web];
    assert_eq!(untested.collect::<Vec<_>>(), not_by_post, "pages, and changes over WebSocket");

    let mut client = daemon.client();
    client.authenticate("a");
    let vms = client.list("all_vms");
    assert_eq!((vms.len(), &vms[0]["ram"]), (1, &json!(512)), "nothing was done");
    assert_eq!(daemon.client().call_text("get *"), "ok\n\n");
}

/// The token of a reader counts for its request, like any other; it opens the lists and nothing that changes.
#[test]
fn the_token_of_a_reader_opens_what_reads() {
    let daemon = Daemon::builder().listen("tcp://127.0.0.1:0?open=").start();
    let url = format!("http://{}/", daemon.addresses()[1]);
    daemon.client().register("a", &[1]);
    let (token, other) = (daemon.reader_token("grafana"), daemon.reader_token("prometheus"));
    let header = format!("Authorization: Bearer {token}");
    let ask = |request: &Value| fetch(["-H", &header, "-d", &request.to_string(), &url]);
    let list = request("list", json!({"list_type": "all_vms"}));
    let (status, reply) = ask(&list).json();
    assert_eq!((status, &reply["data"]["all_vms"][0]["id"]), (200, &json!(1)), "as an operator sees it");
    assert_eq!(ask(&json!({"action": "list_all_vms"})).json().1["all_vms"][0]["id"], 1);
    assert_eq!(ask(&request("get", json!({"key": "*"}))).json().1["status"], "success");
    assert_pong(&ask(&request("ping", json!({}))));
    for (command, data, message) in [
        ("update", json!({"ram": 7}), "You have to authenticate to run this operation"),
        ("logout", json!({}), "You have to authenticate to run this operation"),
        ("put", json!({"key": "k", "value": 1}), "You have to authenticate to run this operation"),
        ("stats", json!({}), "Unknown command"),
    ] {
        assert_eq!(assert_error(&ask(&request(command, data)), 200), message, "{command}");
    }
    let mut in_data = list.clone();
    in_data["data"]["token"] = json!(token);
    assert_eq!(fetch(["-d", &in_data.to_string(), &url]).json().1["status"], "success");
    assert_eq!(ask(&in_data).status, 200, "the same twice");
    in_data["data"]["token"] = json!(other);
    assert_error(&ask(&in_data), 400);
    // A login by password with the token of a reader is one of the VM.
    let credentials = request("authenticate", json!({"vm_id": "a", "password": PASSWORD}));
    assert_eq!(ask(&credentials).json().1["status"], "success");

    daemon.token_command(&["disable", "1"]).expect_success();
    for request in [&list, &request("ping", json!({})), &credentials] {
        let answer = ask(request);
        assert_error(&answer, 401);
        assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer"));
    }
    assert_eq!(daemon.client().call(list)["status"], "error", "no connection is authenticated");
}

/// A token ends with its VM, and with the VM's password.
#[test]
fn ended_tokens_are_rejected() {
    let daemon = Daemon::start();
    let url = url(&daemon);
    let list = request("list", json!({"list_type": "all_vms"})).to_string();
    let status = |token: &str| {
        let header = format!("Authorization: Bearer {token}");
        fetch(["-H", &header, "-d", &list, &url]).status
    };
    daemon.client().register("a", &[1]);
    daemon.client().register("b", &[1]);
    let (of_a, of_b) = (login(&url, "a"), login(&url, "b"));
    assert_eq!((status(&of_a), status(&of_b)), (200, 200));
    daemon.vm_command(&["passwd", "a"], "another password\n").expect_success();
    assert_eq!((status(&of_a), status(&of_b)), (401, 200));
    daemon.vm_command(&["remove", "b"], "").expect_success();
    assert_eq!((status(&of_a), status(&of_b)), (401, 401));
}

/// Clients behind a proxy may share a connection: their requests are independent.
#[test]
fn http_requests_on_one_connection_are_independent() {
    let daemon = Daemon::start();
    let url = url(&daemon);
    daemon.client().register("a", &[1]);
    let first = format!("Authorization: Bearer {}", login(&url, "a"));
    let credentials = request("authenticate", json!({"vm_id": "a", "password": PASSWORD})).to_string();
    let list = request("list", json!({"list_type": "all_vms"})).to_string();
    let logout = request("logout", json!({})).to_string();
    let mut command = curl();
    command.args(["-d", &credentials, &url]);
    for arguments in [
        &["-d", &list, &url][..],
        &["-H", &first, "-d", &list, &url],
        &["-d", &list, &url],
        &["-H", &first, "-d", &logout, &url],
        &["-H", &first, "-w", "%{http_code} %{num_connects}", "-d", &list, &url],
    ] {
        command.arg("--next").args(["--silent", "--show-error"]).args(arguments);
    }
    let said = succeed(&mut command).stdout;
    let replies: Vec<&str> = said.lines().collect();
    let [login, anonymous, listed, anonymous_again, logout, ended, shown] = replies[..] else {
        panic!("{said}");
    };
    assert!(anonymous.contains("You have to authenticate") && anonymous_again == anonymous, "{said}");
    assert!(listed.contains("\"all_vms\"") && logout.contains("logged out successfully"), "{said}");
    assert!(ended.contains("Invalid access token") && shown == "401 0", "{said}");
    // The logout was for another token than the one before on this connection.
    let login: Value = serde_json::from_str(login).expect("a reply");
    let token = login["data"]["token"].as_str().expect("a token");
    let header = format!("Authorization: Bearer {token}");
    assert_eq!(fetch(["-H", &header, "-d", &list, &url]).status, 200);
}

/// A token from a login over HTTP.
#[track_caller]
fn login(url: &str, name: &str) -> String {
    let credentials = request("authenticate", json!({"vm_id": name, "password": PASSWORD}));
    let (_, reply) = fetch(["-d", &credentials.to_string(), url]).json();
    reply["data"]["token"].as_str().unwrap_or_else(|| panic!("no token: {reply}")).to_owned()
}

#[test]
fn pages_of_other_origins_do_not_reach_the_daemon() {
    let arguments = ["--http-host", "vms.example.org", "--http-origin", "https://dash.example.org"];
    let daemon = Daemon::builder().args(arguments).start();
    let port = daemon.address().port();
    let add = r#"{"action": "add_vm", "ram": 512, "disks": [5]}"#;
    let ask_as = |host: &str, header: &str| {
        let resolve = format!("{host}:{port}:127.0.0.1");
        let address = format!("http://{host}:{port}/");
        fetch(["--resolve", &resolve, "-H", header, "-d", add, &address])
    };
    let own = format!("Origin: http://vms.example.org:{port}");
    let mut added = 0;
    for (host, header) in [
        ("vms.example.org", "X: "),
        ("VMs.Example.ORG", "X: "),
        ("localhost", "X: "),
        ("127.0.0.1", "X: "),
        ("vms.example.org", own.as_str()),
        ("localhost", "Origin: https://dash.example.org"),
        ("localhost", "Sec-Fetch-Site: same-origin"),
    ] {
        added += 1;
        let reply = ask_as(host, header).json();
        assert_eq!(reply, (200, json!({"status": "vm added", "vm_id": added})), "{host} {header}");
    }
    let foreign_port = format!("Origin: http://localhost:{}", port ^ 1);
    for (host, header) in [
        ("evil.example.org", "X: "),
        ("org", "X: "),
        ("xvms.example.org", "X: "),
        ("localhost", "Origin: http://evil.example.org"),
        ("localhost", "Origin: null"),
        ("localhost", "Origin: http://dash.example.org"),
        ("localhost", foreign_port.as_str()),
        ("localhost", own.as_str()),
        ("localhost", "Sec-Fetch-Site: cross-site"),
    ] {
        let answer = ask_as(host, header);
        assert_error(&answer, 403);
        assert_eq!(answer.header("Connection"), Some("close"), "{host} {header}");
    }
    let (_, reply) = fetch(["-d", r#"{"action": "list_all_vms"}"#, &url(&daemon)]).json();
    assert_eq!(reply["all_vms"].as_array().map(Vec::len), Some(added));
}
