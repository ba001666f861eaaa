//! The codec for HTTP: the status of each answer, the choice of token, and the built-in pages.

#[cfg(feature = "websocket")]
use super::Codec;
#[cfg(feature = "page")]
use super::event_stream::{self, EventStream};
use super::framing_codec::{
    DecodeContext, Decoded, FramingCodec, Reply, ReplyPage, is_ping, read_message, trim,
};
#[cfg(feature = "websocket")]
use super::websocket::WebSocketCodec;
#[cfg(feature = "page")]
use crate::assets;
use crate::buffer::Buffer;
use crate::dialect;
use crate::framing::http::{
    Authorization, BodyBytesMax, ContentType, Http, HttpError, HttpEvent, HttpPage, Status,
};
use crate::model::{
    Answer, Command, CommandName, Denial, Dialect, Failure, Query, Refusal, Request, Scope, Secret,
};
#[cfg(feature = "page")]
use crate::model::{Revision, WebResource};
use crate::session::ending::Ending;

/// The state of an HTTP connection.
#[derive(Default)]
pub(in crate::session) struct HttpCodec {
    http: Http,
    /// The status of the next answer, if the answer itself does not determine it.
    status: Option<Status>,
    /// The token of the current request came in its head.
    has_token_in_head: bool,
    /// The denial since the last [`HttpCodec::take_denials`] that closes the connection.
    denial: Option<Denial>,
    /// The number of [`Denial::BadAuthorization`] since then; waiting answers bound it.
    bad_authorizations: u16,
    #[cfg(feature = "page")]
    events: EventStream,
}

impl FramingCodec for HttpCodec {
    /// Decodes the next message of the input. All earlier messages must have been answered.
    fn decode(&mut self, input: &mut Buffer, output: &mut Buffer, context: &DecodeContext<'_>) -> Decoded {
        let DecodeContext { rules, date, .. } = *context;
        (self.status, self.has_token_in_head) = (None, false);
        #[cfg(feature = "page")]
        if self.events.is_open(&self.http.exchange) {
            input.clear();
            return if context.has_ended { Decoded::End(Ending::Close, None) } else { Decoded::NeedInput };
        }
        if self.http.exchange.closes && !self.http.is_inside_message() {
            return Decoded::End(Ending::Linger, None);
        }
        // A login applies to one HTTP request, so this is always the anonymous limit.
        let direct = context.bytes_max(false);
        let bytes_max = BodyBytesMax { direct, forwarded: rules.request_bytes_max_forwarded };
        match self.http.next(input, output, bytes_max, &rules.http) {
            HttpEvent::Message => {
                let body = trim(self.http.body(input));
                let decoded = match is_ping(body, rules) && !self.http.has_authorization() {
                    true => Decoded::Ping,
                    false => read_message(body, self.http.exchange.verb_path, rules),
                };
                self.http.consume(input);
                match decoded {
                    Decoded::Message(message) => Decoded::Message(self.finish_decoding(message)),
                    other => other,
                }
            }
            HttpEvent::Page(HttpPage::Root) => {
                let write = |bytes: &mut Vec<u8>| bytes.extend_from_slice(ROOT.as_bytes());
                self.http.exchange.write_whole(Status::Ok, ContentType::Text, date, output, write);
                Decoded::HandledInline
            }
            HttpEvent::Page(HttpPage::Links) => {
                let write = |bytes: &mut Vec<u8>| dialect::encode_links(&rules.customs, bytes);
                self.http.exchange.write_whole(Status::Ok, ContentType::Json, date, output, write);
                Decoded::HandledInline
            }
            #[cfg(feature = "page")]
            HttpEvent::Page(HttpPage::Shell) => {
                let write = |bytes: &mut Vec<u8>| bytes.extend_from_slice(assets::SHELL.as_bytes());
                self.http.exchange.write_whole(Status::Ok, ContentType::Html, date, output, write);
                Decoded::HandledInline
            }
            #[cfg(feature = "page")]
            HttpEvent::Page(HttpPage::Asset(asset)) => {
                let write = |bytes: &mut Vec<u8>| bytes.extend_from_slice(asset.packed);
                let content_type = ContentType::Asset(asset.content_type);
                self.http.exchange.write_whole(Status::Ok, content_type, date, output, write);
                Decoded::HandledInline
            }
            #[cfg(feature = "page")]
            HttpEvent::Web(resource, query) => {
                let request = dialect::decode_web(resource, &query, self.http.exchange.is_head);
                if resource == WebResource::Events {
                    self.events = EventStream::Requested;
                }
                Decoded::Message(self.finish_decoding(Ok(request)))
            }
            #[cfg(not(feature = "page"))]
            HttpEvent::Web(..) => self.refuse(Status::NotFound, ""),
            HttpEvent::Options(methods) => {
                self.http.exchange.write_methods(methods, date, output);
                Decoded::HandledInline
            }
            HttpEvent::Page(HttpPage::Health) => Decoded::Message(Ok(Box::new(health()))),
            #[cfg(feature = "websocket")]
            HttpEvent::Upgrade(key) => {
                let codec = WebSocketCodec::accept(&key, self.http.exchange.is_forwarded, output);
                Decoded::Switch(Codec::WebSocket(Box::new(codec)))
            }
            #[cfg(not(feature = "websocket"))]
            HttpEvent::Upgrade(_) => self.refuse(Status::NotImplemented, WITHOUT_WEBSOCKET),
            HttpEvent::Refused(HttpError { status, reason, .. }) => {
                if let Status::Forbidden(denial) = status {
                    self.denial = Some(denial);
                }
                self.refuse(status, reason)
            }
            HttpEvent::NeedMore => context.need_input(self.http.is_inside_message()),
        }
    }

    fn finish_decoding(&mut self, decoded: Result<Box<Request>, Refusal>) -> Result<Box<Request>, Refusal> {
        let authorization = self.http.take_authorization();
        let mut request = decoded?;
        if matches!(request.name, CommandName::Watch | CommandName::Unwatch)
            && request.dialect != Dialect::Web
        {
            return Err(Failure::NotARequest(NO_WATCH.into()).into());
        }
        // A login applies to this request only.
        request.scope = Scope::Request;
        request.is_forwarded = self.http.exchange.is_forwarded;
        match authorization {
            Authorization::Absent => {}
            Authorization::Unusable => {
                self.status = Some(Status::Unauthorized);
                self.bad_authorizations = self.bad_authorizations.saturating_add(1);
                return Err(Failure::NotARequest(UNUSABLE_AUTHORIZATION.into()).into());
            }
            Authorization::Bearer(token) => self.choose_token(&mut request, token)?,
        }
        Ok(request)
    }

    fn write_answer(&mut self, reply: &Reply<'_>, output: &mut Buffer) {
        if let Answer::Failed(
            Failure::TimedOut | Failure::UnexpectedEnd | Failure::RequestMemoryFull | Failure::TooLarge(_),
        ) = reply.answer
        {
            self.http.finish();
        }
        #[cfg(feature = "page")]
        if self.events.write_answer(&mut self.http.exchange, reply, output) {
            return;
        }
        let exchange = &self.http.exchange;
        if let Answer::Healthy = reply.answer {
            let write = |bytes: &mut Vec<u8>| bytes.extend_from_slice(b"ok\n");
            return exchange.write_whole(Status::Ok, ContentType::Text, reply.date, output, write);
        }
        let status = match exchange.verb_path {
            // Clients of verbs give up on any other status.
            Some(_) if reply.dialect == Dialect::Verb => Status::Ok,
            _ => self.status.take().unwrap_or_else(|| self.status_of(reply.dialect, reply.answer)),
        };
        // A client that failed to authenticate gets no reply in a dialect with its own schema.
        let dialect = if status == Status::Unauthorized { Dialect::Command } else { reply.dialect };
        exchange.write_whole(status, ContentType::Json, reply.date, output, |bytes| {
            dialect::encode_answer(dialect, reply.id, reply.answer, bytes);
            bytes.push(b'\n');
        });
    }

    fn write_page(&mut self, reply: &mut ReplyPage<'_>, output: &mut Buffer) {
        #[cfg(feature = "page")]
        if self.events.write_page(&mut self.http.exchange, reply, output) {
            return;
        }
        let (is_first, is_last) = (!reply.progress.has_head, reply.page.next.is_none());
        let (exchange, date) = (&mut self.http.exchange, reply.date);
        let write = |bytes: &mut Vec<u8>| {
            dialect::encode_page(reply.dialect, reply.id, reply.page, reply.progress, bytes);
            // JSON has no line break of its own; other answers end in one.
            if is_last && bytes.last() != Some(&b'\n') {
                bytes.push(b'\n');
            }
        };
        let content_type = match reply.page.listing.query {
            Query::VmTable(_) => ContentType::Html,
            Query::Metrics => ContentType::Metrics,
            Query::List(_) | Query::Points(_) | Query::Targets { .. } | Query::Snapshot(_) => {
                ContentType::Json
            }
        };
        if exchange.is_head {
            if is_first {
                exchange.begin_pages(content_type, date, output);
                reply.progress.has_head = true;
            }
            return;
        }
        if is_first && is_last {
            return exchange.write_whole(Status::Ok, content_type, date, output, write);
        }
        if is_first {
            exchange.begin_pages(content_type, date, output);
        }
        exchange.write_page(is_last, output, write);
    }

    #[cfg(feature = "page")]
    fn write_change(&mut self, revision: Revision, write: &mut dyn FnMut(&mut Vec<u8>), output: &mut Buffer) {
        event_stream::write_change(&self.http.exchange, revision, write, output);
    }

    #[cfg(feature = "page")]
    fn has_comments(&self) -> bool {
        self.events.is_open(&self.http.exchange)
    }

    #[cfg(feature = "page")]
    fn write_comment(&mut self, output: &mut Buffer) {
        event_stream::write_comment(&self.http.exchange, output);
    }

    #[cfg(feature = "page")]
    fn write_end(&mut self, _is_fault: bool, output: &mut Buffer) {
        self.events.end(&self.http.exchange, output);
    }

    fn take_denials(&mut self) -> Vec<Denial> {
        let bad_authorizations = usize::from(std::mem::take(&mut self.bad_authorizations));
        let before = std::iter::repeat_n(Denial::BadAuthorization, bad_authorizations);
        before.chain(self.denial.take()).collect()
    }

    fn forget(&mut self) {
        self.http.finish();
    }

    fn held_bytes(&self) -> usize {
        self.http.held_bytes()
    }

    fn incomplete_message(&self) -> Option<u32> {
        self.http.incomplete()
    }

    fn is_ordered(&self) -> bool {
        true
    }

    fn is_http(&self) -> bool {
        true
    }
}

impl HttpCodec {
    /// The refusal of a request that is not read.
    fn refuse(&mut self, status: Status, reason: &str) -> Decoded {
        self.status = Some(status);
        Decoded::Message(Err(Failure::NotARequest(reason.into()).into()))
    }

    fn choose_token(&mut self, request: &mut Request, token: Secret) -> Result<(), Failure> {
        match &request.token {
            Ok(None) => {}
            Ok(Some(other)) if *other == token => {}
            // An invalid token is reported as if it were the only one.
            Err(_) => return Ok(()),
            Ok(Some(_)) => return Err(Failure::NotARequest(TWO_TOKENS.into())),
        }
        self.has_token_in_head = true;
        request.token = Ok(Some(token));
        Ok(())
    }

    fn status_of(&self, dialect: Dialect, answer: &Answer) -> Status {
        let Answer::Failed(failure) = answer else { return Status::Ok };
        match failure {
            Failure::InvalidJson(_) | Failure::NotARequest(_) | Failure::UnexpectedEnd => Status::BadRequest,
            Failure::InvalidToken if self.has_token_in_head => Status::Unauthorized,
            Failure::Busy | Failure::RequestMemoryFull | Failure::StoreUnavailable => Status::Unavailable,
            Failure::TooLarge(_) => Status::ContentTooLarge,
            Failure::TimedOut => Status::RequestTimeout,
            // Who asks by GET sees the status only.
            Failure::AuthenticationRequired if dialect == Dialect::Web => Status::Unauthorized,
            Failure::BadField(_) if dialect == Dialect::Web => Status::BadRequest,
            _ if dialect == Dialect::Web => Status::Unavailable,
            _ => Status::Ok,
        }
    }
}

const _: () = assert!(size_of::<HttpCodec>() <= 56, "most of very many connections are idle");

/// The request that a health check makes.
fn health() -> Request {
    let health = Request::new(Dialect::Command, CommandName::Health, Ok(Command::Health));
    Request { scope: Scope::Request, ..health }
}

#[cfg(not(feature = "websocket"))]
const WITHOUT_WEBSOCKET: &str = "this daemon is built without WebSocket";
const NO_WATCH: &str =
    "command: changes do not come as replies to POST; use WebSocket, or GET /events/stream";
const UNUSABLE_AUTHORIZATION: &str =
    "Authorization: not understood; it must be one header, Authorization: Bearer TOKEN";
const TWO_TOKENS: &str = "token: the one in the data and the one in Authorization are not the same";

/// The page at `/`, which describes the server.
const ROOT: &str = "\
vmherd knows a herd of virtual machines: who is there, and what each is made of.

POST a request to any path, one JSON object:

  curl -d '{\"command\": \"ping\"}' http://HOST:PORT/
  curl -d '{\"action\": \"list_all_vms\"}' http://HOST:PORT/

Who has authenticated sends its token with each: Authorization: Bearer TOKEN.
The same requests work over WebSocket, and without HTTP on the same port:

  echo '{\"command\": \"ping\"}' | nc -N HOST PORT

GET /healthz answers 200 when the store can be read and written.
GET /stat answers with the server's status.
GET / with Accept: application/json answers with the paths of the verbs.
";
