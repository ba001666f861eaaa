//! What is to be done with a request, from its head alone: before its body is read, before the client is
//! told to go on, before anything has an effect.
//!
//! The order is: may it be here at all (hosts and origins: [`check_source`]), what is it, will its body be read
//! ([`judge`]).

use super::answer::{Refused, Status, Version};
use super::authorization::Authorization;
use super::fields::{Expects, Field};
use super::head::{Head, Length, Method, malformed};
use super::host::{self, Authority, HttpRules};
use super::websocket_key::WebSocketKey;
use crate::model::Denial;

/// A page that is there for people and their tools.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Page {
    /// `/`: what this server is.
    Root,
    /// `/healthz`: how it is.
    Health,
}

/// What a request is.
#[derive(Debug)]
pub enum Verdict {
    /// A page is asked for.
    Page(Page),
    /// What is asked for is what methods there are: these.
    Options(&'static str),
    /// The connection is to become one of WebSocket.
    Upgrade(WebSocketKey),
    /// A message: its body is to be read.
    Message {
        /// Whether the client waits to be told so.
        waits: bool,
        /// Who it comes from.
        authorization: Authorization,
    },
}

/// Decides about a request whose source is in order; `length` is what the head says of its body.
pub fn judge(head: &Head<'_>, length: Length, body_bytes_max: usize) -> Result<Verdict, Refused> {
    if head.method == Method::Unknown {
        return Err(refused(Status::NotImplemented, "the method is none of HTTP"));
    }
    if head.fields.expects == Expects::Unknown {
        return Err(refused(Status::ExpectationFailed, "the only thing to expect here is 100-continue"));
    }
    if is_websocket_handshake(head) {
        return upgrade(head, length);
    }
    match (head.method, head.target.path) {
        (Method::Get | Method::Head, ROOT) => Ok(Verdict::Page(Page::Root)),
        (Method::Get | Method::Head, HEALTH) => Ok(Verdict::Page(Page::Health)),
        (Method::Get | Method::Head, _) => Err(refused(Status::NotFound, "there is no such page")),
        (Method::Post, path) if path != HEALTH => message(head, length, body_bytes_max),
        (Method::Options, path) => Ok(Verdict::Options(methods(path))),
        (method, path) => {
            let closes = method == Method::Connect;
            Err(Refused { closes, ..refused(Status::MethodNotAllowed(methods(path)), WRONG_METHOD) })
        }
    }
}

/// The methods that there are for `path`.
fn methods(path: &str) -> &'static str {
    match path {
        HEALTH => "GET, HEAD, OPTIONS",
        ROOT | "*" => "GET, HEAD, POST, OPTIONS",
        _ => "POST, OPTIONS",
    }
}

/// Whether the request may come from where it comes from, and means us. Tells the origin of the page that is behind
/// it, where a rule lets that in.
pub fn check_source<'a>(head: &Head<'a>, rules: &HttpRules) -> Result<Option<&'a [u8]>, Refused> {
    let authority = authority(head)?;
    if authority.is_some_and(|authority| !rules.allow_host(&authority.host)) {
        return Err(forbidden(
            Denial::ForeignHost,
            "Host is neither an address, nor localhost, nor a name that --http-host allows",
        ));
    }
    let fields = &head.fields;
    match fields.origin {
        Field::Once(origin) if rules.allow_origin(origin) => return Ok(Some(origin)),
        Field::Once(origin) if authority.is_some_and(|own| host::is_own_origin(origin, own)) => {}
        Field::Once(_) => {
            let why = "Origin is neither this server's nor one that --http-origin allows";
            return Err(forbidden(Denial::ForeignOrigin, why));
        }
        Field::Repeated => return Err(forbidden(Denial::ForeignOrigin, "there is more than one Origin")),
        Field::Absent => {}
    }
    // A page of another port of this host is `same-site`. Whatever it makes a browser send that could have an
    // effect, a POST or a WebSocket handshake, carries its Origin, which is not ours.
    if fields.is_cross_site {
        return Err(forbidden(Denial::ForeignOrigin, "the page that this comes from is somebody else's"));
    }
    Ok(None)
}

/// What the client calls us (RFC 9112, 3.2): none only where HTTP/1.0 need not say.
fn authority<'a>(head: &Head<'a>) -> Result<Option<Authority<'a>>, Refused> {
    let host = match head.fields.host {
        Field::Absent if head.version == Version::Http10 => None,
        Field::Absent => return Err(malformed("HTTP/1.1 needs a Host")),
        Field::Repeated => return Err(malformed("there is more than one Host")),
        Field::Once(text) => Some(Authority::parse(text).ok_or(malformed("Host is none"))?),
    };
    match head.target.authority {
        None => Ok(host),
        Some(text) => match Authority::parse(text.as_bytes()) {
            Some(authority) => Ok(Some(authority)),
            None => Err(malformed("the host of the request target is none")),
        },
    }
}

/// RFC 6455, 4.2.1. Any other upgrade is not for us: the request is what it is without.
fn is_websocket_handshake(head: &Head<'_>) -> bool {
    head.method == Method::Get
        && head.version == Version::Http11
        && head.fields.upgrades_to_websocket
        && head.fields.connection.upgrade
}

fn upgrade(head: &Head<'_>, length: Length) -> Result<Verdict, Refused> {
    if !length.is_zero() {
        return Err(malformed("a WebSocket handshake has no body"));
    }
    if head.fields.websocket_version != Field::Once(b"13") {
        return Err(refused(Status::UpgradeRequired, "the version of WebSocket here is 13"));
    }
    match head.fields.websocket_key {
        Field::Once(text) => WebSocketKey::parse(text),
        Field::Absent | Field::Repeated => None,
    }
    .map(Verdict::Upgrade)
    .ok_or(malformed("Sec-WebSocket-Key is not the base64 of 16 bytes"))
}

fn message(head: &Head<'_>, length: Length, body_bytes_max: usize) -> Result<Verdict, Refused> {
    if head.fields.is_multipart {
        return Err(refused(Status::UnsupportedMediaType, "a body is one JSON object, it has no parts"));
    }
    if head.fields.is_encoded {
        return Err(refused(
            Status::UnsupportedEncoding,
            "a body must not be packed: there is a Content-Encoding",
        ));
    }
    match length {
        Length::None => return Err(refused(Status::LengthRequired, "a POST needs a Content-Length")),
        Length::Sized(bytes) if bytes > body_bytes_max as u64 => return Err(TOO_LARGE),
        Length::Sized(_) | Length::Chunked => {}
    }
    let waits =
        head.fields.expects == Expects::Continue && head.version == Version::Http11 && !length.is_zero();
    Ok(Verdict::Message { waits, authorization: Authorization::parse(head.fields.authorization) })
}

/// Whether the connection may last is for the caller to see.
const fn refused(status: Status, why: &'static str) -> Refused {
    Refused { status, why, closes: false }
}

fn forbidden(denial: Denial, why: &'static str) -> Refused {
    Refused { status: Status::Forbidden(denial), why, closes: true }
}

/// The body of the request is larger than it may be.
pub(super) const TOO_LARGE: Refused =
    Refused { status: Status::ContentTooLarge, why: "the body is larger than it may be", closes: true };

const ROOT: &str = "/";
const HEALTH: &str = "/healthz";
const WRONG_METHOD: &str = "there is no such method here; requests are POSTed";
