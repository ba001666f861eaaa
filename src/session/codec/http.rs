//! The codec for HTTP: the status of each answer, the choice of token, and the built-in pages.

use super::framing_codec::{DecodeContext, Decoded, FramingCodec, Handshake, Reply, ReplyPage, trim};
use crate::buffer::Buffer;
use crate::dialect;
use crate::framing::http::{
    Authorization, BodyBytesMax, ContentType, Http, HttpError, HttpEvent, HttpPage, Status,
};
use crate::model::{
    Answer, Command, CommandName, Denial, Dialect, Failure, LongText, Refusal, Request, Scope, Secret,
};
use crate::session::ending::Ending;

/// The state of an HTTP connection.
#[derive(Default)]
pub(in crate::session) struct HttpCodec {
    http: Http,
    /// The status of the next answer, if the answer itself does not determine it.
    status: Option<Status>,
    /// The token of the current request came in its head.
    has_token_in_head: bool,
    /// The authorization of the message whose body a worker decodes.
    decoding: Option<Authorization>,
    /// The denials since the last [`HttpCodec::take_denials`]; waiting answers bound their number.
    denials: Vec<Denial>,
    /// The WebSocket handshake that ends this framing.
    handshake: Option<Handshake>,
}

impl FramingCodec for HttpCodec {
    /// Decodes the next message of the input. All earlier messages must have been answered.
    fn decode(&mut self, input: &mut Buffer, output: &mut Buffer, context: &DecodeContext<'_>) -> Decoded {
        let DecodeContext { has_ended, bytes_max, rules, date } = *context;
        (self.status, self.has_token_in_head) = (None, false);
        if self.http.closes() && !self.http.is_inside_message() {
            return Decoded::End(Ending::Linger, None);
        }
        // A login applies to one HTTP request, so `bytes_max` is always the anonymous limit.
        let bytes_max = BodyBytesMax { direct: bytes_max, forwarded: rules.request_bytes_max_forwarded };
        match self.http.next(input, output, bytes_max, &rules.http) {
            HttpEvent::Message { authorization } => {
                let body = trim(self.http.body(input));
                if body.len() > rules.inline_bytes_max {
                    self.decoding = Some(authorization);
                    let text = LongText::new(body);
                    self.http.consume(input);
                    return Decoded::Long(text);
                }
                let read = dialect::decode_json(body);
                self.http.consume(input);
                self.authorize(read, authorization).into()
            }
            HttpEvent::Page(HttpPage::Root) => {
                self.http.write_whole(Status::Ok, ContentType::Text, date, ROOT.as_bytes(), output);
                Decoded::HandledInline
            }
            HttpEvent::Options(methods) => {
                self.http.write_methods(methods, date, output);
                Decoded::HandledInline
            }
            HttpEvent::Page(HttpPage::Health) => Decoded::Request(Box::new(health())),
            HttpEvent::Upgrade(_) if !cfg!(feature = "websocket") => {
                self.http.finish();
                self.status = Some(Status::NotImplemented);
                Decoded::Refusal(refusal(Failure::NotARequest(WITHOUT_WEBSOCKET.into())))
            }
            HttpEvent::Upgrade(key) => {
                let (key, is_forwarded) = (key.as_bytes().into(), self.http.is_forwarded());
                self.handshake = Some(Handshake { key, is_forwarded });
                Decoded::HandledInline
            }
            HttpEvent::Refused(HttpError { status, reason, .. }) => {
                if let Status::Forbidden(denial) = status {
                    self.denials.push(denial);
                }
                self.status = Some(status);
                Decoded::Refusal(refusal(Failure::NotARequest(reason.into())))
            }
            HttpEvent::NeedMore if !has_ended => Decoded::NeedInput,
            HttpEvent::NeedMore if self.http.is_inside_message() => {
                Decoded::End(Ending::Linger, Some(Failure::UnexpectedEnd))
            }
            HttpEvent::NeedMore => Decoded::End(Ending::Close, None),
        }
    }

    fn write_answer(&mut self, reply: &Reply<'_>, output: &mut Buffer) {
        if let Answer::Failed(
            Failure::TimedOut | Failure::UnexpectedEnd | Failure::RequestMemoryFull | Failure::TooLarge(_),
        ) = reply.answer
        {
            self.http.finish();
        }
        if let Answer::Healthy = reply.answer {
            return self.http.write_whole(Status::Ok, ContentType::Text, reply.date, b"ok\n", output);
        }
        let status = self.status.take().unwrap_or_else(|| self.status_of(reply.answer));
        // A client that failed to authenticate gets no reply in a dialect with its own schema.
        let dialect = if status == Status::Unauthorized { Dialect::Command } else { reply.dialect };
        self.http.write_whole_with(status, ContentType::Json, reply.date, output, |bytes| {
            dialect::encode_answer(dialect, reply.id, reply.answer, bytes);
            bytes.push(b'\n');
        });
    }

    fn write_page(&mut self, reply: &mut ReplyPage<'_>, output: &mut Buffer) {
        let (is_first, is_last) = (!reply.progress.has_head, reply.page.next.is_none());
        let date = reply.date;
        let write = |bytes: &mut Vec<u8>| {
            dialect::encode_page(reply.dialect, reply.id, reply.page, reply.progress, bytes);
            if is_last {
                bytes.push(b'\n');
            }
        };
        if is_first && is_last {
            return self.http.write_whole_with(Status::Ok, ContentType::Json, date, output, write);
        }
        if is_first {
            self.http.begin_pages(date, output);
        }
        self.http.write_page(is_last, output, write);
    }

    fn finish_decoding(&mut self, decoded: Result<Request, Refusal>) -> Result<Request, Refusal> {
        match self.decoding.take() {
            Some(authorization) => self.authorize(decoded, authorization),
            None => decoded,
        }
    }

    fn take_denials(&mut self) -> Vec<Denial> {
        std::mem::take(&mut self.denials)
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
}

impl HttpCodec {
    /// The codec of a new connection.
    pub(super) fn for_http() -> Option<Box<HttpCodec>> {
        Some(Box::default())
    }

    /// The WebSocket handshake that was decoded, once.
    pub(super) fn take_handshake(&mut self) -> Option<Handshake> {
        self.handshake.take()
    }

    /// Applies the token of the head to the request. A login applies to this request only.
    fn authorize(
        &mut self,
        decoded: Result<Request, Refusal>,
        authorization: Authorization,
    ) -> Result<Request, Refusal> {
        let mut request = decoded?;
        request.scope = Scope::Request;
        request.is_forwarded = self.http.is_forwarded();
        match authorization {
            Authorization::Absent => {}
            Authorization::Unusable => {
                self.status = Some(Status::Unauthorized);
                self.denials.push(Denial::BadAuthorization);
                return Err(refusal(Failure::NotARequest(UNUSABLE_AUTHORIZATION.into())));
            }
            Authorization::Bearer(token) => self.choose_token(&mut request, token).map_err(refusal)?,
        }
        Ok(request)
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

    fn status_of(&self, answer: &Answer) -> Status {
        let Answer::Failed(failure) = answer else { return Status::Ok };
        match failure {
            Failure::InvalidJson(_) | Failure::NotARequest(_) | Failure::UnexpectedEnd => Status::BadRequest,
            Failure::InvalidToken if self.has_token_in_head => Status::Unauthorized,
            Failure::Busy | Failure::RequestMemoryFull | Failure::StoreUnavailable => Status::Unavailable,
            Failure::TooLarge(_) => Status::ContentTooLarge,
            Failure::TimedOut => Status::RequestTimeout,
            _ => Status::Ok,
        }
    }
}

/// The request that a health check makes.
fn health() -> Request {
    let health = Request::new(Dialect::Command, CommandName::Health, Ok(Command::Health));
    Request { scope: Scope::Request, ..health }
}

fn refusal(failure: Failure) -> Refusal {
    Refusal { dialect: Dialect::Command, id: None, failure }
}

const WITHOUT_WEBSOCKET: &str = "this daemon is built without WebSocket";
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
";
