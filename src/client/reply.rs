//! Replies: which of them are errors, and their members.
//!
//! Errors never hold text of a reply, which may be a secret.

use std::collections::BTreeMap;

use serde::de::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::ClientError;

/// A reply of success in the dialect `command`.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Reply {
    /// The message, for people.
    pub message: Option<String>,
    /// The data, an object.
    pub data: Value,
}

/// A reply of any dialect, in parts that are not parsed.
pub(super) struct RawReply<'a> {
    line: &'a str,
    members: Members<'a>,
}

/// The members of an object.
pub(super) struct Members<'a> {
    name: &'static str,
    text: &'a str,
    members: BTreeMap<String, &'a RawValue>,
}

impl<'a> RawReply<'a> {
    pub(super) fn parse(line: &'a str) -> Result<RawReply<'a>, ClientError> {
        Ok(RawReply { line, members: Members::parse("it", line)? })
    }

    /// All of it.
    pub(super) fn whole(&self) -> Result<Value, ClientError> {
        parse("it", self.line)
    }

    /// An error reply is an error. Each dialect has its own, and a server may answer in another than the request's:
    /// before it reads a request it knows none.
    pub(super) fn check(&self) -> Result<&RawReply<'a>, ClientError> {
        let is = |name: &str, text: &str| self.members.get(name).is_some_and(|value| value.get() == text);
        let message = match () {
            () if is("status", "\"error\"") || is("success", "false") => self.members.member("message")?,
            () => match self.members.get("error") {
                Some(message) => message,
                None => return Ok(self),
            },
        };
        Err(ClientError::server(&parse::<String>("the message", message.get())?))
    }

    /// It must be no error, and its member `name` must be `text`.
    pub(super) fn expect_success(&self, name: &str, text: &str) -> Result<&RawReply<'a>, ClientError> {
        match self.check()?.members.get(name) {
            Some(value) if value.get() == text => Ok(self),
            _ => Err(ClientError::bad_reply("it is neither a success nor an error")),
        }
    }

    /// It must be the reply to the request `id`.
    pub(super) fn of_request(&self, id: &str) -> Result<&RawReply<'a>, ClientError> {
        match self.members.get("request_id").map(|own| parse::<String>("request_id", own.get())) {
            Some(Ok(own)) if own == id => Ok(self),
            _ => Err(ClientError::bad_reply("it has another request_id")),
        }
    }

    pub(super) fn message(&self) -> Result<Option<String>, ClientError> {
        parse("the message", self.members.member("message")?.get())
    }

    pub(super) fn data(&self) -> Result<Members<'a>, ClientError> {
        Members::parse("data", self.members.member("data")?.get())
    }
}

impl<'a> Members<'a> {
    pub(super) fn parse(name: &'static str, text: &'a str) -> Result<Members<'a>, ClientError> {
        Ok(Members { name, text, members: parse(name, text)? })
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.get(name).copied()
    }

    /// The text of the member `name`, which must be there.
    pub(super) fn member(&self, name: &'static str) -> Result<&'a RawValue, ClientError> {
        let missing = || ClientError::bad_reply(format_args!("{} lacks {name}", self.name));
        self.get(name).ok_or_else(missing)
    }

    /// The value of the member `name`.
    pub(super) fn read<T: Deserialize<'a>>(&self, name: &'static str) -> Result<T, ClientError> {
        parse(name, self.member(name)?.get())
    }

    /// The object as one value.
    pub(super) fn value(&self) -> Result<Value, ClientError> {
        parse(self.name, self.text)
    }

    /// The object as a value of the type `T`.
    pub(super) fn parse_as<T: Deserialize<'a>>(&self) -> Result<T, ClientError> {
        parse(self.name, self.text)
    }
}

/// Parses `text`, the JSON of `name`.
pub(super) fn parse<'a, T: Deserialize<'a>>(name: &str, text: &'a str) -> Result<T, ClientError> {
    serde_json::from_str(text).map_err(|error| {
        let (kind, column) = (error.classify(), error.column());
        let what = match kind {
            serde_json::error::Category::Data => "is not of the expected type",
            _ => "is not the JSON that is expected",
        };
        ClientError::bad_reply(format_args!("{name} {what} (byte {column})"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<(), ClientError> {
        RawReply::parse(line)?.check().map(|_| ())
    }

    #[test]
    fn errors_of_every_dialect_are_errors() {
        for line in [
            r#"{"status":"error","message":"a \"b\"","data":{}}"#,
            r#"{"success":false,"message":"a \"b\"","data":{}}"#,
            r#"{"error":"a \"b\""}"#,
            r#"{"request_id":"1","error":"a \"b\""}"#,
        ] {
            match check(line) {
                Err(ClientError::Server { message }) => assert_eq!(message, "a \"b\""),
                other => panic!("{line}: {other:?}"),
            }
        }
        for line in [r#"{"status":"vm added","vm_id":1}"#, r#"{"request_id":"1","data":{}}"#, "{}"] {
            check(line).expect(line);
        }
    }

    #[test]
    fn bad_replies_are_described_without_their_text() {
        for line in [
            "",
            "null",
            "[]",
            "secret",
            "{\"a\":secret}",
            "{\"a\":1} secret",
            "{\"status\":\"error\",\"secret\":1}",
            "{\"status\":\"error\",\"message\":{\"secret\":1}}",
            "{\"error\":[\"secret\"]}",
        ] {
            match check(line) {
                Err(ClientError::BadReply(why)) => assert!(!why.contains("secret"), "{line}: {why}"),
                other => panic!("{line}: {other:?}"),
            }
        }
        let reply = RawReply::parse(r#"{"status":"success","data":{"token":"secret"}}"#).unwrap();
        let error = reply.data().unwrap().read::<u64>("token").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(reply.expect_success("status", "\"ok\"").is_err());
        assert!(reply.of_request("1").is_err());
    }
}
