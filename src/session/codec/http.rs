//! The codec for HTTP: the status of each answer, the choice of token, and the built-in pages.

use super::{Decoded, Ending, Reply, ReplyPage, Rules, decoded, trim};
use crate::buffer::Buffer;
use crate::clock::HttpDate;
use crate::dialect;
use crate::framing::http::{
    Authorization, BodyBytesMax, ContentType, Http, HttpError, HttpEvent, HttpPage, Status,
};
use crate::model::{
    Answer, Command, CommandName, Denial, Dialect, Failure, LongText, Refusal, Request, Scope, Secret,
};

pub(super) use crate::framing::http::WebSocketKey as Key;

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
}

/// The result of decoding input.
pub(super) enum HttpDecoded {
    Message(Decoded),
    /// A WebSocket handshake, which a proxy may have forwarded.
    Upgrade {
        key: Key,
        is_forwarded: bool,
    },
}

impl HttpCodec {
    /// Decodes the next message of the input. All earlier messages must have been answered.
    pub(super) fn decode(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        has_ended: bool,
        bytes_max: BodyBytesMax,
        rules: &Rules,
        date: &HttpDate,
    ) -> HttpDecoded {
        (self.status, self.has_token_in_head) = (None, false);
        let is_over = self.http.closes() && !self.http.is_inside_message();
        if is_over {
            return HttpDecoded::Message(Decoded::End(Ending::Linger, None));
        }
        HttpDecoded::Message(match self.http.next(input, output, bytes_max, &rules.http) {
            HttpEvent::Message { authorization } => {
                let body = trim(self.http.body(input));
                if body.len() > rules.inline_bytes_max {
                    self.decoding = Some(authorization);
                    let text = LongText::new(body);
                    self.http.consume(input);
                    return HttpDecoded::Message(Decoded::Long(text));
                }
                let read = dialect::decode_json(body);
                self.http.consume(input);
                decoded(self.authorize(read, authorization))
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
            HttpEvent::Upgrade(key) => {
                return HttpDecoded::Upgrade { key, is_forwarded: self.http.is_forwarded() };
            }
            HttpEvent::Refused(HttpError { status, reason: why, .. }) => {
                if let Status::Forbidden(denial) = status {
                    self.denials.push(denial);
                }
                self.status = Some(status);
                Decoded::Refusal(refusal(Failure::NotARequest(why.into())))
            }
            HttpEvent::NeedMore if !has_ended => Decoded::NeedInput,
            HttpEvent::NeedMore if self.http.is_inside_message() => {
                Decoded::End(Ending::Linger, Some(Failure::UnexpectedEnd))
            }
            HttpEvent::NeedMore => Decoded::End(Ending::Close, None),
        })
    }

    pub(super) fn write_answer(&mut self, reply: &Reply<'_>, output: &mut Buffer) {
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

    pub(super) fn write_page(&mut self, reply: &mut ReplyPage<'_>, output: &mut Buffer) {
        let (is_first, is_last) = (!reply.progress.has_begun, reply.page.next.is_none());
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
            self.http.begin_pages(Status::Ok, ContentType::Json, date, output);
        }
        self.http.write_page(is_last, output, write);
    }

    /// Completes a message with the body that a worker decoded.
    pub(super) fn finish_decoding(&mut self, decoded: Result<Request, Refusal>) -> Result<Request, Refusal> {
        match self.decoding.take() {
            Some(authorization) => self.authorize(decoded, authorization),
            None => decoded,
        }
    }

    pub(super) fn take_denials(&mut self) -> Vec<Denial> {
        std::mem::take(&mut self.denials)
    }

    /// Drops a partial message; nothing more is decoded.
    pub(super) fn forget(&mut self) {
        self.http.finish();
    }

    /// Bytes of memory held outside the input buffer.
    pub(super) fn held_bytes(&self) -> usize {
        self.http.held_bytes()
    }

    pub(super) fn unfinished(&self) -> Option<u32> {
        self.http.unfinished()
    }

    /// Refuses a WebSocket handshake in a build without WebSocket.
    #[cfg(not(feature = "websocket"))]
    pub(super) fn refuse_upgrade(&mut self, _key: &Key, _output: &mut Buffer) -> Decoded {
        self.http.give_up();
        self.status = Some(Status::NotImplemented);
        Decoded::Refusal(refusal(Failure::NotARequest("this daemon is built without WebSocket".into())))
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
    Request {
        dialect: Dialect::Command,
        id: None,
        token: Ok(None),
        scope: Scope::Request,
        is_forwarded: false,
        name: CommandName::Health,
        command: Ok(Command::Health),
    }
}

fn refusal(failure: Failure) -> Refusal {
    Refusal { dialect: Dialect::Command, id: None, failure }
}

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
