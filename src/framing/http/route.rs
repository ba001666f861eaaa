//! Routes a request by its head alone, before its body is read and before `100 Continue` is sent.
//!
//! [`check_source`] checks host and origin first; then [`route`] selects the kind of request and decides whether to
//! read its body.

use super::HttpEvent;
use super::head::{BodyLength, Head, Method, malformed};
use super::headers::{Expectation, HeaderValue};
use super::host::{self, Authority, HttpRules};
#[cfg(feature = "page")]
use super::page::PagePath;
use super::response::{HttpError, Methods, Status, Version};
use super::websocket_key::WebSocketKey;
#[cfg(feature = "page")]
use crate::model::WebResource;
use crate::model::{Denial, Verb, VerbPath};

/// A page for people and monitoring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HttpPage {
    /// `/`: describes the server.
    Root,
    /// `/` for programs: the paths of the verbs.
    Links,
    /// `/healthz`: health check.
    Health,
    /// `/` for browsers: the page's shell.
    #[cfg(feature = "page")]
    Shell,
    /// A file of the page.
    #[cfg(feature = "page")]
    Asset(&'static crate::assets::Asset),
}

/// Routes a request whose source is allowed; `length` is the length of its body, `verb_path` its path, if that names a
/// verb.
pub fn route(
    head: &Head<'_>,
    length: BodyLength,
    body_bytes_max: usize,
    verb_path: Option<VerbPath>,
) -> Result<HttpEvent, HttpError> {
    if head.method == Method::Unknown {
        return Err(error(Status::NotImplemented, "the method is none of HTTP"));
    }
    if head.headers.expects == Expectation::Unknown {
        return Err(error(Status::ExpectationFailed, "the only thing to expect here is 100-continue"));
    }
    if is_websocket_handshake(head) {
        return route_upgrade(head, length);
    }
    #[cfg(feature = "page")]
    if let Some(routed) = route_page(head) {
        return routed;
    }
    match (head.method, head.target.path) {
        (Method::Get | Method::Head, ROOT) if head.headers.accepts_json => {
            Ok(HttpEvent::Page(HttpPage::Links))
        }
        (Method::Get | Method::Head, ROOT) => Ok(HttpEvent::Page(HttpPage::Root)),
        (Method::Get | Method::Head, HEALTH) => Ok(HttpEvent::Page(HttpPage::Health)),
        (Method::Get | Method::Head, path) => match verb_path {
            Some(VerbPath::Of(Verb::Stat)) => route_message(head, length, body_bytes_max, verb_path),
            Some(VerbPath::Of(_)) => Err(method_not_allowed(path, verb_path)),
            Some(VerbPath::Below) | None => Err(error(Status::NotFound, "there is no such page")),
        },
        (Method::Post, path) if path != HEALTH => route_message(head, length, body_bytes_max, verb_path),
        (Method::Options, path) => Ok(HttpEvent::Options(methods(path, verb_path))),
        (method, path) => {
            Err(HttpError { closes: method == Method::Connect, ..method_not_allowed(path, verb_path) })
        }
    }
}

/// Routes a request whose path belongs to the web page.
#[cfg(feature = "page")]
fn route_page(head: &Head<'_>) -> Option<Result<HttpEvent, HttpError>> {
    let (reads, path) = (matches!(head.method, Method::Get | Method::Head), head.target.path);
    let accepts = &head.headers;
    if path == ROOT {
        let is_shell = reads && accepts.accepts_html && !accepts.accepts_json;
        return is_shell.then_some(Ok(HttpEvent::Page(HttpPage::Shell)));
    }
    Some(match PagePath::parse(path)? {
        _ if head.method == Method::Options => return None,
        _ if !reads => Err(method_not_allowed(path, None)),
        PagePath::Resource(WebResource::Events) => {
            Ok(HttpEvent::Web(WebResource::Events, events_query(head)))
        }
        PagePath::Resource(resource) => Ok(HttpEvent::Web(resource, head.target.query.into())),
        PagePath::Asset(asset) if accepts.accepts_gzip => Ok(HttpEvent::Page(HttpPage::Asset(asset))),
        PagePath::Asset(_) => {
            Err(error(Status::NotAcceptable, "this file is there in the encoding gzip only"))
        }
    })
}

/// The query of a request for events. A browser that connects again says in a header where it was, which replaces what the
/// query says.
#[cfg(feature = "page")]
fn events_query(head: &Head<'_>) -> Box<str> {
    let query = head.target.query;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    match head.headers.last_event_id {
        HeaderValue::Absent | HeaderValue::Once(b"") => query.into(),
        HeaderValue::Once(id) if id.iter().all(is_plain) => {
            format!("{query}&from={}", String::from_utf8_lossy(id)).into()
        }
        // No revision: the error names the field.
        HeaderValue::Once(_) | HeaderValue::Repeated => format!("{query}&from=?").into(),
    }
}

fn method_not_allowed(path: &str, verb_path: Option<VerbPath>) -> HttpError {
    error(Status::MethodNotAllowed(methods(path, verb_path)), METHOD_NOT_ALLOWED)
}

/// The allowed methods for `path`.
fn methods(path: &str, verb_path: Option<VerbPath>) -> Methods {
    match path {
        HEALTH => Methods::Read,
        #[cfg(feature = "page")]
        _ if PagePath::parse(path).is_some() => Methods::Read,
        ROOT | "*" => Methods::ReadAndPost,
        _ if verb_path == Some(VerbPath::Of(Verb::Stat)) => Methods::ReadAndPost,
        _ => Methods::Post,
    }
}

/// Checks that the request names this server as its host and comes from an allowed origin. Returns the origin if it is
/// a foreign one that a rule allows.
pub fn check_source<'a>(head: &Head<'a>, rules: &HttpRules) -> Result<Option<&'a [u8]>, HttpError> {
    let authority = authority(head)?;
    if authority.is_some_and(|authority| !rules.allow_host(&authority.host)) {
        return Err(forbidden(
            Denial::ForeignHost,
            "Host is neither an address, nor localhost, nor a name that --http-host allows",
        ));
    }
    let fields = &head.headers;
    match fields.origin {
        HeaderValue::Once(origin) if rules.allow_origin(origin) => return Ok(Some(origin)),
        HeaderValue::Once(origin) if authority.is_some_and(|own| host::is_own_origin(origin, own)) => {}
        HeaderValue::Once(_) => {
            let why = "Origin is neither this server's nor one that --http-origin allows";
            return Err(forbidden(Denial::ForeignOrigin, why));
        }
        HeaderValue::Repeated => {
            return Err(forbidden(Denial::ForeignOrigin, "there is more than one Origin"));
        }
        HeaderValue::Absent => {}
    }
    // A page from another port of this host is `same-site`. Its requests that could have an effect (POST, WebSocket
    // handshake) carry an `Origin`, which the check above rejects.
    if fields.is_cross_site && !is_followed_link(head) {
        return Err(forbidden(Denial::ForeignOrigin, "the page that this comes from is of another site"));
    }
    Ok(None)
}

/// Whether the browser fills a tab with the answer, after a link on a page of any site. Reading has no effect, and that
/// page cannot see the answer: the browser shows it as a document of its own.
fn is_followed_link(head: &Head<'_>) -> bool {
    let fields = &head.headers;
    matches!(head.method, Method::Get | Method::Head)
        && fields.navigates
        && fields.fills_tab
        && fields.origin == HeaderValue::Absent
        && !is_websocket_handshake(head)
}

/// The authority that the client addresses (RFC 9112, 3.2); `None` only for HTTP/1.0 without `Host`.
fn authority<'a>(head: &Head<'a>) -> Result<Option<Authority<'a>>, HttpError> {
    let host = match head.headers.host {
        HeaderValue::Absent if head.version == Version::Http10 => None,
        HeaderValue::Absent => return Err(malformed("HTTP/1.1 needs a Host")),
        HeaderValue::Repeated => return Err(malformed("there is more than one Host")),
        HeaderValue::Once(text) => Some(Authority::parse(text).ok_or(malformed("Host is none"))?),
    };
    match head.target.authority {
        None => Ok(host),
        Some(text) => match Authority::parse(text.as_bytes()) {
            Some(authority) => Ok(Some(authority)),
            None => Err(malformed("the host of the request target is none")),
        },
    }
}

/// RFC 6455, 4.2.1. Other upgrades are ignored.
fn is_websocket_handshake(head: &Head<'_>) -> bool {
    head.method == Method::Get
        && head.version == Version::Http11
        && head.headers.upgrades_to_websocket
        && head.headers.connection.upgrade
}

fn route_upgrade(head: &Head<'_>, length: BodyLength) -> Result<HttpEvent, HttpError> {
    if !length.is_zero() {
        return Err(malformed("a WebSocket handshake has no body"));
    }
    if head.headers.websocket_version != HeaderValue::Once(b"13") {
        return Err(error(Status::UpgradeRequired, "the version of WebSocket here is 13"));
    }
    match head.headers.websocket_key {
        HeaderValue::Once(text) => WebSocketKey::parse(text),
        HeaderValue::Absent | HeaderValue::Repeated => None,
    }
    .map(HttpEvent::Upgrade)
    .ok_or(malformed("Sec-WebSocket-Key is not the base64 of 16 bytes"))
}

fn route_message(
    head: &Head<'_>,
    length: BodyLength,
    body_bytes_max: usize,
    verb_path: Option<VerbPath>,
) -> Result<HttpEvent, HttpError> {
    if head.headers.is_multipart {
        return Err(error(Status::UnsupportedMediaType, "a body is one JSON object, it has no parts"));
    }
    if head.headers.is_encoded {
        return Err(error(
            Status::UnsupportedEncoding,
            "a body must not be packed: there is a Content-Encoding",
        ));
    }
    match length {
        // A verb needs no parameters.
        BodyLength::None if matches!(verb_path, Some(VerbPath::Of(_))) => Ok(HttpEvent::Message),
        BodyLength::None => Err(error(Status::LengthRequired, "a POST needs a Content-Length")),
        BodyLength::Sized(bytes) if bytes > body_bytes_max as u64 => Err(TOO_LARGE),
        BodyLength::Sized(_) | BodyLength::Chunked => Ok(HttpEvent::Message),
    }
}

/// An error that does not close the connection by itself.
const fn error(status: Status, why: &'static str) -> HttpError {
    HttpError { status, reason: why, closes: false }
}

fn forbidden(denial: Denial, why: &'static str) -> HttpError {
    HttpError::closing(Status::Forbidden(denial), why)
}

/// The body exceeds the limit.
pub(super) const TOO_LARGE: HttpError =
    HttpError::closing(Status::ContentTooLarge, "the body is larger than it may be");

const ROOT: &str = "/";
const HEALTH: &str = "/healthz";
const METHOD_NOT_ALLOWED: &str = "there is no such method here; requests are POSTed";
