//! The dialect `verb`: requests `{"verb": NAME, "parameters": {…}}`; the reply is
//! `{"success": BOOLEAN, "message": TEXT, "data": {…}}`, after the request's id.
//!
//! A verb is written in capital letters. Unknown parameters are ignored. Messages have a fixed text, with the reason in
//! parentheses.

use std::borrow::Cow;

use super::envelope::Envelope;
use super::fields::{FieldNames, JsonFields, JsonPath, is_object, secret, string};
use super::json_writer::{begin_reply, write_json, write_member, write_raw};
use crate::ids::ContainerId;
use crate::limits;
use crate::model::{
    Answer, Command, CommandName, ContainerCredentials, CustomCommands, Dialect, Failure, LongText,
    NewContainer, Refusal, Request, RequestId, Response, Secret, ServerStatus, Verb, VerbPath, verbs,
};

/// Parses a request whose envelope has a `verb`.
pub(super) fn decode(envelope: &mut Envelope<'_>, customs: &CustomCommands) -> Result<Request, Refusal> {
    let (name, parameters) = name_and_parameters(envelope).ok_or_else(|| malformed(envelope))?;
    Ok(decode_parameters(Verb::parse(&name, customs), envelope, parameters))
}

/// Parses a request for `verb`. `STAT` ignores its parameters.
///
/// An unknown verb is a request as well: where the listener demands an access token, only a client that has one learns
/// that there is no such verb.
pub(super) fn decode_parameters(
    verb: Option<Verb>,
    envelope: &mut Envelope<'_>,
    parameters: &str,
) -> Request {
    let mut fields = JsonFields::empty(JsonPath::Root, FieldNames::new(&PARAMETERS));
    fields.fill(parameters);
    let credentials = || credentials(&fields).ok_or(Failure::MalformedRequest);
    let (name, command) = match verb {
        None => (CommandName::UnknownVerb, Err(Failure::UnknownCommand)),
        Some(Verb::Stat) => (CommandName::VerbStat, Ok(Command::VerbStat)),
        Some(Verb::Create) => (CommandName::VerbCreate, credentials().map(|_| Command::VerbCreate)),
        Some(Verb::Destroy) => (CommandName::VerbDestroy, credentials().map(Command::VerbDestroy)),
        Some(Verb::Custom(id)) => {
            let parameters = LongText::new(parameters.as_bytes());
            (CommandName::Custom(id), Ok(Command::Custom { id, parameters }))
        }
    };
    let access_token = access_token(&fields).ok_or(Failure::MalformedRequest);
    Request { id: envelope.id.take(), access_token, ..Request::new(Dialect::Verb, name, command) }
}

/// The credentials among the parameters: both or none. `None` if they are malformed.
fn credentials(parameters: &JsonFields<'_>) -> Option<Option<ContainerCredentials>> {
    let id = parameters.unique_value("container_uuid").ok()?;
    let token = parameters.unique_value("client_token").ok()?;
    if id.is_none() && token.is_none() {
        return Some(None);
    }
    let id = ContainerId::parse(&string(id?).ok()??)?;
    let token = token_of(limits::CONTAINER_TOKEN_CHARS, token?)?;
    Some(Some(ContainerCredentials { id, token }))
}

/// The access token among the parameters, if there is one. `None` if it is malformed.
fn access_token(parameters: &JsonFields<'_>) -> Option<Option<Secret>> {
    match parameters.unique_value("access_token").ok()? {
        Some(token) => token_of(limits::ACCESS_TOKEN_CHARS, token).map(Some),
        None => Some(None),
    }
}

/// The token of `length` characters that `value` is.
fn token_of(length: usize, value: &str) -> Option<Secret> {
    let token = secret(value).ok()??;
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (token.length() == length && token.expose().bytes().all(is_digit)).then_some(token)
}

/// The refusal of a message without the shape of a request.
pub(super) fn malformed(envelope: &Envelope<'_>) -> Refusal {
    Refusal { dialect: Dialect::Verb, ..envelope.refuse(Failure::MalformedRequest) }
}

/// The verb and its parameters, if the request has the shape of this dialect.
fn name_and_parameters<'a>(envelope: &Envelope<'a>) -> Option<(String, &'a str)> {
    let fields = envelope.fields_by(FieldNames::new(&KEYS));
    let parameters = fields.unique_value("parameters").ok()??;
    let name = string(fields.unique_value("verb").ok()??).ok()??;
    let is_verb = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase());
    (is_verb && is_object(parameters)).then(|| (name.into_owned(), parameters))
}

/// Writes a complete reply.
pub(super) fn encode_answer(id: Option<&RequestId>, answer: &Answer, output: &mut Vec<u8>) {
    begin_reply(id, output);
    match answer {
        Answer::Status(status) => {
            write_raw(output, "\"success\":true,\"message\":\"OK\",\"data\":");
            write_status(status, output);
        }
        Answer::Created(container) => {
            write_raw(output, "\"success\":true,\"message\":\"OK\",\"data\":");
            write_container(container, output);
        }
        Answer::Destroyed => write_raw(output, "\"success\":true,\"message\":\"OK\",\"data\":{}"),
        Answer::Custom(response) => write_response(response, output),
        Answer::Failed(failure) => write_failure(failure, output),
        _ => {
            debug_assert!(false, "this dialect has no such answer");
            write_failure(&Failure::Internal, output);
        }
    }
    write_raw(output, "}");
}

fn write_status(status: &ServerStatus, output: &mut Vec<u8>) {
    write_member(output, "{\"uptime\":", &status.uptime.as_secs());
    match status.containers_available {
        Some(available) => write_member(output, ",\"available\":", &available),
        None => write_raw(output, ",\"available\":\"nolimit\""),
    }
    write_member(output, ",\"version\":", env!("CARGO_PKG_VERSION"));
    write_raw(output, "}");
}

fn write_container(new: &NewContainer, output: &mut Vec<u8>) {
    let NewContainer { credentials, user_name, password, container } = new;
    write_raw(output, &format!("{{\"container_uuid\":\"{}\"", credentials.id));
    write_member(output, ",\"client_token\":", credentials.token.expose());
    write_raw(output, ",\"container_iso_sha256\":\"");
    container.iso_sha256.iter().for_each(|byte| write_raw(output, &format!("{byte:02x}")));
    write_member(output, "\",\"container_username\":", user_name);
    write_member(output, ",\"container_password\":", password.expose());
    write_member(output, ",\"container_listen_port\":", &container.listen_port);
    write_raw(output, "}");
}

/// Writes the paths of the verbs, for programs that ask for the page `/`, with the newline.
pub(super) fn encode_links(customs: &CustomCommands, output: &mut Vec<u8>) {
    write_raw(output, concat!("{\"success\":true,\"message\":\"vmherd ", env!("CARGO_PKG_VERSION"), "\""));
    write_member(output, ",\"data\":{\"links\":", &VerbPath::all(customs));
    write_raw(output, "}}\n");
}

/// Writes the reply to a client whose address is refused, with the newline.
pub(super) fn encode_refusal(output: &mut Vec<u8>) {
    write_member(output, "{\"success\":false,\"message\":", verbs::REFUSED_REQUEST);
    write_raw(output, ",\"data\":{}}\n");
}

fn write_response(response: &Response, output: &mut Vec<u8>) {
    write_member(output, "\"success\":", &response.is_success());
    write_member(output, ",\"message\":", response.message().unwrap_or(verbs::OK));
    write_raw(output, ",\"data\":");
    output.extend_from_slice(response.data());
}

fn write_failure(failure: &Failure, output: &mut Vec<u8>) {
    let (message, reason) = message(failure);
    write_raw(output, "\"success\":false,\"message\":");
    match reason {
        None => write_json(output, message),
        Some(reason) => write_json(output, &format!("{message} ({reason})")),
    }
    write_raw(output, ",\"data\":{}");
}

/// The message of a failure, and its reason.
fn message(failure: &Failure) -> (&'static str, Option<Cow<'static, str>>) {
    let (message, reason) = match failure {
        Failure::UnknownCommand => (verbs::BAD_REQUEST, "Unknown verb"),
        Failure::MalformedRequest => (verbs::BAD_REQUEST, "Malformed request"),
        Failure::AuthenticationRequired => (verbs::BAD_AUTHENTICATION, "Authentication required"),
        Failure::AccessTokenRequired => (verbs::BAD_REQUEST, "Access token is required"),
        Failure::InvalidAccessToken | Failure::InvalidToken | Failure::TokenOfAnotherVm => {
            (verbs::BAD_AUTHENTICATION, "Invalid access token")
        }
        Failure::InvalidCredentials => return (verbs::BAD_AUTHENTICATION, None),
        Failure::Busy
        | Failure::RequestMemoryFull
        | Failure::StoreUnavailable
        | Failure::VmLimitReached
        | Failure::NoHypervisor
        | Failure::ContainerLimitReached => {
            return (verbs::UNAVAILABLE, Some(failure.message()));
        }
        Failure::OutcomeUnknown => (verbs::INTERNAL_ERROR, "outcome unknown"),
        _ => return (verbs::INTERNAL_ERROR, None),
    };
    (message, Some(reason.into()))
}

/// The fields of a request.
const KEYS: [&str; 2] = ["verb", "parameters"];

/// The known parameters: the first two prove who has created a container.
const PARAMETERS: [&str; 3] = ["container_uuid", "client_token", "access_token"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dialect;

    fn encode(id: Option<&str>, answer: &Answer) -> String {
        let mut output = Vec::new();
        let id = id.map(|id| RequestId(id.into()));
        dialect::encode_answer(Dialect::Verb, id.as_ref(), answer, &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn requests_have_a_verb_in_capitals_and_an_object_of_parameters() {
        const STAT: Result<(), Failure> = Ok(());
        const UNKNOWN: Result<(), Failure> = Err(Failure::UnknownCommand);
        const MALFORMED: Result<(), Failure> = Err(Failure::MalformedRequest);
        let cases = [
            (r#"{"verb": "STAT", "parameters": {}}"#, STAT),
            (r#"{"parameters": {"other": 1, "other": 2}, "verb": "\u0053TAT"}"#, STAT),
            (r#"{"verb": "STAT", "parameters": {}, "more": null}"#, STAT),
            (r#"{"request_id": 5, "verb": "STAT", "parameters": {}}"#, STAT),
            (r#"{"verb": "STATE", "parameters": {}}"#, UNKNOWN),
            (r#"{"verb": "REBOOT", "parameters": {}}"#, UNKNOWN),
            (r#"{"verb": "stat", "parameters": {}}"#, MALFORMED),
            (r#"{"verb": "STAT2", "parameters": {}}"#, MALFORMED),
            (r#"{"verb": "É", "parameters": {}}"#, MALFORMED),
            (r#"{"verb": "", "parameters": {}}"#, MALFORMED),
            (r#"{"verb": null, "parameters": {}}"#, MALFORMED),
            (r#"{"verb": ["STAT"], "parameters": {}}"#, MALFORMED),
            (r#"{"verb": "STAT"}"#, MALFORMED),
            (r#"{"verb": "STAT", "parameters": null}"#, MALFORMED),
            (r#"{"verb": "STAT", "parameters": []}"#, MALFORMED),
            (r#"{"verb": "STAT", "parameters": {}, "parameters": {}}"#, MALFORMED),
        ];
        for (text, wanted) in cases {
            let found = match dialect::decode_json(text.as_bytes(), &CustomCommands::default()) {
                Ok(request) => {
                    let name = if wanted.is_ok() { CommandName::VerbStat } else { CommandName::UnknownVerb };
                    assert_eq!((request.dialect, request.name), (Dialect::Verb, name));
                    request.command.map(|command| assert_eq!(command, Command::VerbStat))
                }
                Err(refusal) => {
                    assert_eq!(refusal.dialect, Dialect::Verb, "{text}");
                    Err(refusal.failure)
                }
            };
            assert_eq!(found, wanted, "{text}");
        }
    }

    const UUID: &str = "01234567-89ab-4cde-bfed-0123456789ab";

    #[test]
    fn credentials_of_a_container_come_together_and_have_one_form() {
        let token = "a-Z_9".repeat(51);
        let credentials = ContainerCredentials {
            id: ContainerId::parse(UUID).expect("a UUID"),
            token: crate::model::Secret::new(&token),
        };
        let both = |id: &str, token: &str| format!(r#"{{"container_uuid": {id}, "client_token": {token}}}"#);
        let (id, quoted) = (format!("\"{UUID}\""), format!("\"{token}\""));
        let malformed = [
            format!(r#"{{"container_uuid": {id}}}"#),
            format!(r#"{{"client_token": {quoted}}}"#),
            both("null", &quoted),
            both(&id, "null"),
            both(&id, "5"),
            both("[]", &quoted),
            both(&id, r#""""#),
            both(&id, &format!("\"{}\"", &token[1..])),
            both(&id, &format!("\"{token}a\"")),
            both(&id, &format!("\"{}.\"", &token[1..])),
            both(&id, &format!("\"{}é\"", &token[2..])),
            both(&id, &format!("\"{}\\u0000\"", &token[1..])),
            both(&id.to_ascii_uppercase(), &quoted),
            both(r#""container""#, &quoted),
            format!(r#"{{"container_uuid": {id}, "container_uuid": {id}, "client_token": {quoted}}}"#),
        ];
        let well_formed = [
            ("{}".to_owned(), None),
            (r#"{"other": {}, "other": 1}"#.to_owned(), None),
            (both(&id, &quoted), Some(credentials.clone())),
            (both(&id, &quoted.replacen('a', "\\u0061", 1)).replacen("}", ",\"x\":1}", 1), Some(credentials)),
        ];
        let decode = |verb: &str, parameters: &str| {
            let text = format!(r#"{{"verb": "{verb}", "parameters": {parameters}}}"#);
            let request = dialect::decode_json(text.as_bytes(), &CustomCommands::default());
            request.expect("it has the shape of a verb").command
        };
        for parameters in malformed {
            for verb in ["CREATE", "DESTROY"] {
                assert_eq!(decode(verb, &parameters), Err(Failure::MalformedRequest), "{verb} {parameters}");
            }
            assert_eq!(decode("STAT", &parameters), Ok(Command::VerbStat), "STAT has no parameters");
        }
        for (parameters, credentials) in well_formed {
            assert_eq!(decode("CREATE", &parameters), Ok(Command::VerbCreate), "{parameters}");
            assert_eq!(decode("DESTROY", &parameters), Ok(Command::VerbDestroy(credentials)), "{parameters}");
        }
    }

    #[test]
    fn an_access_token_has_one_form_with_every_verb() {
        let token = "a-Z_9012".repeat(16)[..124].to_owned();
        let quoted = format!("\"{token}\"");
        let given = |value: &str| format!(r#"{{"access_token": {value}}}"#);
        let malformed = [
            given("null"),
            given("true"),
            given("5"),
            given("[]"),
            given(&format!("[{quoted}]")),
            given(r#""""#),
            given(&format!("\"{}\"", &token[1..])),
            given(&format!("\"{token}a\"")),
            given(&format!("\"{}+\"", &token[1..])),
            given(&format!("\"{}=\"", &token[1..])),
            given(&format!("\"{} \"", &token[1..])),
            given(&format!("\"{}é\"", &token[2..])),
            given(&format!("\"{}\\u0000\"", &token[1..])),
            format!(r#"{{"access_token": {quoted}, "access_token": {quoted}}}"#),
        ];
        let well_formed = [
            ("{}".to_owned(), None),
            (r#"{"Access_token": 5}"#.to_owned(), None),
            (given(&quoted), Some(Secret::new(&token))),
            (given(&quoted.replacen('a', "\\u0061", 1)), Some(Secret::new(&token))),
            (format!(r#"{{"x": {quoted}, "\u0061ccess_token": {quoted}}}"#), Some(Secret::new(&token))),
        ];
        let mut customs = CustomCommands::default();
        customs.add(crate::model::CustomKind::Verb, "ECHO", crate::model::Access::Public).expect("a verb");
        let decode = |verb: &str, parameters: &str| {
            let text = format!(r#"{{"verb": "{verb}", "parameters": {parameters}}}"#);
            dialect::decode_json(text.as_bytes(), &customs).expect("it has the shape of a verb")
        };
        for verb in ["STAT", "CREATE", "DESTROY", "ECHO", "REBOOT"] {
            for parameters in &malformed {
                let request = decode(verb, parameters);
                assert_eq!(request.access_token, Err(Failure::MalformedRequest), "{verb} {parameters}");
                assert_eq!(request.command.is_ok(), verb != "REBOOT", "it is ignored where none is demanded");
            }
            for (parameters, token) in &well_formed {
                let request = decode(verb, parameters);
                assert_eq!(request.access_token.as_ref(), Ok(token), "{verb} {parameters}");
                let is_inline = token.is_none() && matches!(verb, "STAT" | "REBOOT");
                assert_eq!(request.is_inline(), is_inline, "{verb} {parameters}");
            }
            let shown = format!("{:?}", decode(verb, &given(&quoted)));
            assert!(!shown.contains(&token), "{shown}");
        }
        let path =
            |verb| dialect::decode_message(given(&quoted).as_bytes(), Some(VerbPath::Of(verb)), &customs);
        assert_eq!(path(Verb::Stat).expect("parameters").access_token, Ok(Some(Secret::new(&token))));
    }

    #[test]
    fn a_new_container_has_six_fields() {
        let container = NewContainer {
            credentials: ContainerCredentials {
                id: ContainerId::parse(UUID).expect("a UUID"),
                token: crate::model::Secret::new("token"),
            },
            user_name: "user_01234".into(),
            password: crate::model::Secret::new("password"),
            container: crate::model::Container {
                listen_port: 40_000.try_into().expect("not zero"),
                iso_sha256: [0xa0; 32],
                shape: crate::model::VmShape { ram_mib: 128, cpus: 1 },
                disk_sizes_gib: Vec::new(),
            },
        };
        let data = format!(
            r#"{{"container_uuid":"{UUID}","client_token":"token","container_iso_sha256":"{}","#,
            "a0".repeat(32)
        ) + r#""container_username":"user_01234","container_password":"password","container_listen_port":40000}"#;
        let wanted = format!(r#"{{"success":true,"message":"OK","data":{data}}}"#);
        assert_eq!(encode(None, &Answer::Created(Box::new(container.clone()))), wanted);
        assert_eq!(encode(None, &Answer::Destroyed), r#"{"success":true,"message":"OK","data":{}}"#);
        let shown = format!("{:?}", Answer::Created(Box::new(container)));
        assert!(!shown.contains("\"token\"") && !shown.contains("\"password\""), "{shown}");
    }

    #[test]
    fn replies_are_written_byte_for_byte() {
        let status = |containers_available| {
            Answer::Status(ServerStatus { uptime: Duration::from_millis(61_900), containers_available })
        };
        assert!(encode(None, &status(Some(0))).contains(r#","available":0,"#));
        let status = status(None);
        let version = env!("CARGO_PKG_VERSION");
        let data = format!(r#"{{"uptime":61,"available":"nolimit","version":"{version}"}}"#);
        assert_eq!(encode(None, &status), format!(r#"{{"success":true,"message":"OK","data":{data}}}"#));
        assert_eq!(
            encode(Some("7"), &status),
            format!(r#"{{"request_id":7,"success":true,"message":"OK","data":{data}}}"#)
        );
        let failures = [
            (Failure::UnknownCommand, "Bad request (Unknown verb)"),
            (Failure::AccessTokenRequired, "Bad request (Access token is required)"),
            (Failure::InvalidAccessToken, "Bad authentication (Invalid access token)"),
            (Failure::MalformedRequest, "Bad request (Malformed request)"),
            (Failure::AuthenticationRequired, "Bad authentication (Authentication required)"),
            (Failure::InvalidToken, "Bad authentication (Invalid access token)"),
            (Failure::InvalidCredentials, "Bad authentication"),
            (Failure::NoHypervisor, "Unavailable (No hypervisor)"),
            (Failure::ContainerLimitReached, "Unavailable (Running containers maximum amount was reached)"),
            (Failure::Busy, "Unavailable (busy)"),
            (Failure::StoreUnavailable, "Unavailable (store unavailable)"),
            (Failure::OutcomeUnknown, "Internal error (outcome unknown)"),
            (Failure::Internal, "Internal error"),
        ];
        for (failure, message) in failures {
            let wanted = format!(r#"{{"success":false,"message":"{message}","data":{{}}}}"#);
            assert_eq!(encode(None, &Answer::Failed(failure)), wanted);
        }
    }
}
