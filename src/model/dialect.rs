//! The languages of requests.

/// The language of a request and of its reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// `{"command": …, "data": {…}}`
    Command,
    /// `{"action": …, …}`
    Action,
    /// `{"verb": …, "parameters": {…}}`
    Verb,
    /// `{"request_id": …, "data": "…"}`
    Conversion,
    /// `put KEY VALUE TIMESTAMP`
    Text,
    /// `GET PATH?QUERY`, for browsers and monitoring.
    Web,
}
