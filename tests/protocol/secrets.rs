//! Passwords and tokens stay secret: no reply repeats a password, and the log has neither, at any level.

use serde_json::{Value, json};

use crate::common::{Client, Daemon, request};

const SECRET: &str = "hunter2-never-to-be-seen";

/// Requests with the secret as the password, each invalid in another way.
fn bad_requests() -> Vec<String> {
    let register = |data: &str| format!(r#"{{"command":"register","data":{{{data}}}}}"#);
    let authenticate = |data: &str| format!(r#"{{"command":"authenticate","data":{{{data}}}}}"#);
    let right = format!(r#""vm_id":"s","ram":1,"cpu":1,"disks":[],"password":"{SECRET}""#);
    let login = format!(r#""vm_id":"s","password":"{SECRET}""#);
    vec![
        // A valid request that the client may not make.
        authenticate(&login),
        register(&right.replace("\"s\"", "\"taken\"")),
        authenticate(&login.replace("\"s\"", "\"taken\"")),
        // Not JSON.
        register(&right).replace("\"cpu\":1", "\"cpu\":01"),
        register(&right).replace(",\"disks\"", "\"disks\""),
        format!(r#"{{"command":"authenticate","data":{{"password":{SECRET}}}}}"#),
        format!(r#"{{"password":"{SECRET}]}}"}}}}"#),
        format!("{{{SECRET}}}"),
        format!("[{SECRET}]"),
        // Not a request.
        format!(r#"["{SECRET}"]"#),
        format!(r#"{{"data":{{{login}}}}}"#),
        format!(r#"{{"command":"authenticate","password":"{SECRET}","data":{{}}}}"#),
        format!(r#"{{"command":"fly","data":{{{login}}}}}"#),
        format!(r#"{{"command":"authenticate","data":"{SECRET}"}}"#),
        format!(r#"{{"command":"authenticate","data":["{SECRET}"]}}"#),
        format!(r#"{{"command":"authenticate","data":{{{login}}},"data":{{{login}}}}}"#),
        format!(r#"{{"command":"authenticate","action":"authenticate","data":{{{login}}}}}"#),
        // A field is missing, unexpected, or invalid.
        authenticate(&format!(r#""password":"{SECRET}""#)),
        authenticate(&format!(r#"{login},"x":1"#)),
        authenticate(&format!(r#"{login},"password":"{SECRET}""#)),
        authenticate(&format!(r#"{login},"Password":"{SECRET}""#)),
        authenticate(&login.replace("\"s\"", "7")),
        register(&right.replace("\"ram\":1", "\"ram\":0")),
        register(&right.replace("\"disks\":[]", "\"disks\":{}")),
        register(&login),
        authenticate(&format!(r#""vm_id":"s","password":["{SECRET}"]"#)),
        authenticate(&format!(r#""vm_id":"s","password":{{"{SECRET}":"{SECRET}"}}"#)),
        authenticate(&format!(r#""vm_id":"s","password":"{SECRET}\u0000""#)),
        authenticate(&format!(r#""vm_id":"s","password":"{SECRET}\ud800""#)),
        authenticate(&format!(r#""vm_id":"s","password":"{}""#, SECRET.repeat(50))),
        // In a field that is not a password.
        format!(r#"{{"command":"update","data":{{"password":"{SECRET}"}}}}"#),
        format!(r#"{{"command":"list","data":{{"list_type":"all_vms","token":"{SECRET}"}}}}"#),
        format!(r#"{{"command":"list","data":{{"list_type":"all_vms","token":["{SECRET}"]}}}}"#),
        format!(r#"{{"command":"list","data":{{"list_type":"all_vms","token":"{SECRET}\u0000"}}}}"#),
    ]
}

#[test]
fn no_password_is_in_a_reply_or_in_the_log() {
    let mut daemon = Daemon::builder()
        .args(["--log", "trace", "--request-timeout", "300ms"])
        .listen("tcp://127.0.0.1:0?open=")
        .start();
    let mut client = daemon.client();
    client.register("taken", &[]);
    let mut replies = String::new();
    for request in bad_requests() {
        client.send(&request);
        client.send("\n{\"command\":\"ping\"}");
        loop {
            let line = client.raw_line();
            replies.push_str(&line);
            if line.contains("PONG") {
                break;
            }
            assert!(line.contains("\"status\":\"error\""), "{request}: {line}");
        }
    }
    // Input that ends the connection: not JSON, no end in time, no end at all, too long.
    let open = format!(r#"{{"command":"authenticate","data":{{"vm_id":"s","password":"{SECRET}"#);
    for (sent, is_ended) in [
        (format!("PASS {SECRET}\n"), true),
        (format!("PASS {SECRET}"), false),
        (format!("put {SECRET}\0 1 1"), false),
        (format!("GET /{SECRET} HTTP/1.1\r\n\r\n"), false),
        (format!("{{\"command\":\"ping\"}}\nGET /{SECRET} HTTP/1.1\r\n\r\n"), false),
        (format!("{{\"command\":\"ping\"}}{SECRET}"), false),
        (open.clone(), false),
        (open.clone(), true),
        (format!("{open}{}", SECRET.repeat(4000)), false),
    ] {
        let mut client = Client::connect(daemon.addresses()[1]);
        client.send(&sent);
        if is_ended {
            client.half_close();
        }
        replies.push_str(&client.rest());
    }
    daemon.stop();
    assert!(!replies.contains(SECRET), "{replies}");
    assert!(!daemon.log().contains(SECRET), "{}", daemon.log());
    assert!(daemon.log().contains("stopped"), "this is the whole log");
}

#[test]
fn no_access_token_is_in_a_reply_or_in_the_log() {
    let mut daemon = Daemon::builder().args(["--log", "trace"]).start();
    let mut client = daemon.client();
    let secret = SECRET.repeat(6)[..124].to_owned();
    let mut replies = String::new();
    for verb in ["STAT", "CREATE", "DESTROY", "REBOOT", "stat"] {
        for token in [json!(secret), json!([secret]), json!(format!("{secret}.")), json!({&secret: secret})] {
            let parameters = json!({"access_token": token, "client_token": secret});
            let reply = client.call(json!({"verb": verb, "parameters": parameters}));
            assert!(reply["message"].is_string(), "{reply}");
            replies.push_str(&reply.to_string());
        }
    }
    daemon.stop();
    assert!(!replies.contains(SECRET), "{replies}");
    assert!(!daemon.log().contains(SECRET), "{}", daemon.log());
    assert!(daemon.log().contains("stopped"), "this is the whole log");
}

#[test]
fn no_file_holds_a_password_in_clear() {
    let mut daemon = Daemon::builder().args(["--log", "trace"]).start();
    let mut client = daemon.client();
    let data = json!({"vm_id": "s", "ram": 1, "cpu": 1, "disks": [{"disk_size": 1}], "password": SECRET});
    client.succeed("register", data);
    let data = client.succeed("authenticate", json!({"vm_id": "s", "password": SECRET}));
    let token = data["token"].as_str().expect("a token").to_owned();
    let mut replies = Vec::new();
    for list in ["active_vms", "authenticated_vms", "all_vms", "all_disks"] {
        replies.push(client.call(request("list", json!({"list_type": list, "token": token}))));
    }
    replies.push(client.call(request("update", json!({"ram": 7, "token": token}))));
    replies.push(daemon.operator().call(request("stats", json!({}))));
    replies.push(client.call(request("logout", json!({"token": token}))));
    let listed = daemon.vm_command(&["list"], "").expect_success();
    daemon.vm_command(&["passwd", "s"], &format!("{SECRET}-2\n")).expect_success();
    daemon.stop();
    let replies = Value::Array(replies).to_string();
    for text in [&replies, &listed.stdout, &listed.stderr, &daemon.log()] {
        assert!(!text.contains(SECRET), "{text}");
        assert!(!text.contains(&token), "{text}");
        assert!(!text.contains("$argon2"), "{text}");
    }
    // Nor in the files, which hold hashes only.
    for file in std::fs::read_dir(daemon.state_dir()).expect("the state directory") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("a file can be read");
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!holds(SECRET) && !holds(&token));
    }
}
