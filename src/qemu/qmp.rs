//! QEMU's monitor protocol (QMP): objects of JSON, one in each line.

use serde_json::{Value, json};

use crate::limits;

/// Splits the monitor's bytes into messages.
#[derive(Default)]
pub(super) struct QmpDecoder(Vec<u8>);

/// A message of the monitor.
#[derive(PartialEq, Debug)]
pub(super) enum QmpMessage {
    /// It accepts the command that leaves the negotiation.
    Greeting,
    /// The reply to a command: its value, or QEMU's reason.
    Reply(Result<Value, String>),
    /// Something has happened.
    Event { name: String, data: Value },
}

impl QmpDecoder {
    /// Adds bytes of the monitor. Returns the messages that they end, and an error if they are none: then the connection
    /// is of no more use.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> Result<Vec<QmpMessage>, String> {
        self.0.extend_from_slice(bytes);
        let mut messages = Vec::new();
        let mut begin = 0;
        while let Some(length) = self.0[begin..].iter().position(|byte| *byte == b'\n') {
            messages.extend(parse(&self.0[begin..begin + length])?);
            begin += length + 1;
        }
        self.0.drain(..begin);
        match self.0.len() > limits::QMP_LINE_BYTES_MAX {
            true => Err(format!("a line has more than {} bytes", limits::QMP_LINE_BYTES_MAX)),
            false => Ok(messages),
        }
    }
}

/// Parses a line; `None`: it is empty.
fn parse(line: &[u8]) -> Result<Option<QmpMessage>, String> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    let mut value: Value =
        serde_json::from_slice(line).map_err(|error| format!("a line is not JSON: {error}"))?;
    let object = value.as_object_mut().ok_or("a line is not an object")?;
    if object.contains_key("QMP") {
        return Ok(Some(QmpMessage::Greeting));
    }
    if let Some(value) = object.remove("return") {
        return Ok(Some(QmpMessage::Reply(Ok(value))));
    }
    if let Some(error) = object.get("error") {
        let reason = error["desc"].as_str().unwrap_or("no reason is given").to_owned();
        return Ok(Some(QmpMessage::Reply(Err(reason))));
    }
    match object.get("event").and_then(Value::as_str).map(str::to_owned) {
        Some(name) => {
            let data = object.remove("data").unwrap_or_default();
            Ok(Some(QmpMessage::Event { name, data }))
        }
        None => Err("a line is neither a reply nor an event".to_owned()),
    }
}

/// A command of QMP.
pub(super) fn command(name: &str) -> Vec<u8> {
    line(&json!({"execute": name}))
}

/// A command of the monitor for humans, whose reply is its text.
pub(super) fn human_command(text: &str) -> Vec<u8> {
    line(&json!({"execute": "human-monitor-command", "arguments": {"command-line": text}}))
}

fn line(command: &Value) -> Vec<u8> {
    format!("{command}\n").into_bytes()
}

/// The number of connections to the guest's SSH port in the reply to `info usernet`.
pub(super) fn count_connections(usernet: &str) -> usize {
    // TCP[ESTABLISHED]  18  127.0.0.1 22200  10.0.2.15  22  0  0
    let is_connection = |line: &&str| {
        let mut words = line.split_whitespace();
        let state = words.next().unwrap_or_default();
        state.starts_with("TCP[") && state != "TCP[HOST_FORWARD]" && words.nth(4) == Some("22")
    };
    usernet.lines().filter(is_connection).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = concat!(
        r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}"#,
        "\r\n",
        r#"{"return": {}}"#,
        "\r\n\r\n",
        r#"{"timestamp": {"seconds": 1}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#,
        "\r\n",
        r#"{"error": {"class": "CommandNotFound", "desc": "The command x has not been found"}}"#,
        "\n",
        r#"{"return": "Could not set up host forwarding rule 'tcp:127.0.0.1:1-:22'\r\n"}"#,
        "\n",
        r#"{"event": "STOP"}"#,
        "\n",
    );

    fn messages() -> Vec<QmpMessage> {
        let event = |name: &str, data| QmpMessage::Event { name: name.to_owned(), data };
        vec![
            QmpMessage::Greeting,
            QmpMessage::Reply(Ok(json!({}))),
            event("SHUTDOWN", json!({"guest": true, "reason": "guest-reset"})),
            QmpMessage::Reply(Err("The command x has not been found".to_owned())),
            QmpMessage::Reply(Ok(json!("Could not set up host forwarding rule 'tcp:127.0.0.1:1-:22'\r\n"))),
            event("STOP", Value::Null),
        ]
    }

    #[test]
    fn messages_are_the_same_at_every_split() {
        for split in 0..=LINES.len() {
            let (first, second) = LINES.as_bytes().split_at(split);
            let mut decoder = QmpDecoder::default();
            let mut decoded = decoder.decode(first).unwrap();
            decoded.extend(decoder.decode(second).unwrap());
            assert_eq!(decoded, messages(), "{split}");
        }
        let mut decoder = QmpDecoder::default();
        let bytewise: Vec<_> =
            LINES.as_bytes().chunks(1).flat_map(|byte| decoder.decode(byte).unwrap()).collect();
        assert_eq!(bytewise, messages());
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for (line, wanted) in [
            ("HTTP/1.1 400\n", "a line is not JSON: expected value at line 1 column 1"),
            ("[]\n", "a line is not an object"),
            ("{}\n", "a line is neither a reply nor an event"),
            ("{\"event\": 1}\n", "a line is neither a reply nor an event"),
            ("\u{fffd}\0\n", "a line is not JSON: expected value at line 1 column 1"),
        ] {
            assert_eq!(QmpDecoder::default().decode(line.as_bytes()).unwrap_err(), wanted);
        }
        let long = vec![b' '; limits::QMP_LINE_BYTES_MAX + 1];
        assert!(QmpDecoder::default().decode(&long[1..]).is_ok());
        assert_eq!(QmpDecoder::default().decode(&long).unwrap_err(), "a line has more than 65536 bytes");
        let reply = QmpDecoder::default().decode(b"{\"error\": 1}\n").unwrap();
        assert_eq!(reply, [QmpMessage::Reply(Err("no reason is given".to_owned()))]);
    }

    #[test]
    fn commands_are_lines() {
        assert_eq!(command("quit"), b"{\"execute\":\"quit\"}\n");
        assert_eq!(
            String::from_utf8(human_command("info usernet")).unwrap(),
            "{\"arguments\":{\"command-line\":\"info usernet\"},\"execute\":\"human-monitor-command\"}\n"
        );
    }

    #[test]
    fn connections_to_the_guest_are_counted() {
        let usernet = "Hub -1 (n0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
            TCP[ESTABLISHED]   19       127.0.0.1 22200       10.0.2.15    22     0     0\r\n  \
            TCP[HOST_FORWARD]  13       127.0.0.1 22200       10.0.2.15    22     0     0\r\n  \
            TCP[ESTABLISHED]   20       10.0.2.15 40000     192.0.2.1    80     0     0\r\n  \
            UDP[236 sec]       21       10.0.2.15 53        10.0.2.3     22     0     0\r\n";
        assert_eq!(count_connections(usernet), 1);
        assert_eq!(count_connections(""), 0);
    }
}
