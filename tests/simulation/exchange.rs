//! What a fake client and the server exchange: the bytes of its requests, and checks of every byte that it receives.
//!
//! Replies without an id must come in the order of their requests, those with an id exactly once, and none of another
//! client's.

use std::collections::VecDeque;

use super::client_codec::{ClientCodec, HttpStyle, ServerMessage};
use super::environment::Environment;
use super::expectations::Expectations;
use super::framing::Framing;
use super::metric_requests::{MetricContext, MetricRequest, line_of};
use super::point_model::Requester;
use super::random_request;
use super::reply_context::RequestHead;
use super::request::Request;
use super::verb_requests::{STAT_PATHS, VerbForm};
use vmherd::internals::model::Failure;

/// Both directions of one client's connection.
pub(super) struct Exchange {
    /// The client's number.
    number: usize,
    /// What is to be sent.
    pub(super) outgoing: VecDeque<u8>,
    /// The body of an HTTP request, to be sent after `100 Continue`.
    pub(super) withheld_body: Option<Vec<u8>>,
    pub(super) codec: ClientCodec,
    pub(super) expectations: Expectations,
    /// The request of a sealed client, until it is sent.
    #[cfg(feature = "sealed")]
    pub(super) sealed_request: Option<Request>,
    marks: u64,
}

impl Exchange {
    pub(super) fn new(number: usize, listener: usize, framing: Framing) -> Exchange {
        Exchange {
            number,
            outgoing: VecDeque::new(),
            withheld_body: None,
            codec: ClientCodec::new(framing),
            expectations: Expectations::new(number, listener, framing),
            #[cfg(feature = "sealed")]
            sealed_request: None,
            marks: number as u64 * 1_000_000,
        }
    }

    pub(super) fn has_nothing_pending(&self) -> bool {
        self.expectations.has_nothing_pending() && self.codec.has_nothing_pending()
    }

    /// Whether an answer comes only after a step of the client.
    pub(super) fn owes_step(&self) -> bool {
        #[cfg(feature = "sealed")]
        return self.codec.sealed.as_ref().is_some_and(|sealed| sealed.has_answer_length());
        #[cfg(not(feature = "sealed"))]
        false
    }

    // ── Input ──

    /// Checks received bytes; `is_refused` if there is no memory for the client's requests.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        port: u16,
        is_refused: bool,
        env: &mut Environment,
    ) -> Result<(), String> {
        #[cfg(feature = "sealed")]
        if let Some(sealed) = &mut self.codec.sealed {
            sealed.is_out_of_memory = is_refused;
        }
        let messages = self
            .codec
            .decode(bytes)
            .map_err(|error| format!("{error}: {}", bytes[..bytes.len().min(300)].escape_ascii()))?;
        #[cfg(feature = "sealed")]
        self.note_sealed(env);
        for message in messages {
            match message {
                #[cfg(feature = "sealed")]
                ServerMessage::Refusal { has_broken_rule } => self.check_refusal(has_broken_rule, env)?,
                ServerMessage::Response(text, _) if is_refused && is_out_of_memory(&text) => {
                    self.expectations.has_closing_error = true;
                }
                ServerMessage::Response(text, status) => {
                    self.expectations.take(&text, status, port, env).map_err(|error| {
                        let shown: String = text.chars().take(300).collect();
                        format!("{error}: {shown}")
                    })?;
                    #[cfg(feature = "sealed")]
                    self.record_sealed(env);
                }
                ServerMessage::Continue => {
                    let body = self.withheld_body.take().ok_or("100 Continue without a withheld body")?;
                    self.outgoing.extend(body);
                }
            }
        }
        Ok(())
    }

    // ── Requests ──

    /// A request that makes sense now, if one was found.
    pub(super) fn choose_anything(&mut self, has_id: bool, env: &mut Environment) -> Option<Request> {
        let by = self.metric_context(has_id, env);
        random_request::choose(by, &mut self.marks, &self.expectations, env)
    }

    /// A request for points of this kind.
    pub(super) fn choose_for_points(
        &mut self,
        metric_request: MetricRequest,
        has_id: bool,
        env: &mut Environment,
    ) -> Request {
        let by = self.metric_context(has_id, env);
        metric_request.choose(by, &mut self.marks, &mut env.knowledge.points, &mut env.random)
    }

    /// A conversion that no other is like.
    pub(super) fn new_conversion(&mut self) -> Request {
        self.marks += 1;
        Request::Convert { mark: self.marks }
    }

    /// A request for an added verb or command that no other is like.
    pub(super) fn new_custom(&mut self, env: &mut Environment) -> Request {
        self.marks += 1;
        Request::Custom(random_request::custom(self.marks, None, &mut env.random))
    }

    /// The same for a verb.
    #[cfg(feature = "sealed")]
    pub(super) fn new_custom_verb(&mut self, env: &mut Environment) -> Request {
        loop {
            match self.new_custom(env) {
                Request::Custom(custom) if custom.is_verb() => {
                    return Request::Custom(custom.without_http());
                }
                _ => {}
            }
        }
    }

    /// The context of its requests for metrics.
    fn metric_context(&self, has_id: bool, env: &Environment) -> MetricContext {
        let is_text = self.codec.framing == Framing::Text;
        let is_in_turn = !has_id || is_text || self.codec.framing == Framing::Http;
        MetricContext { requester: Requester { client: self.number, is_in_turn }, is_text, now: env.now }
    }

    // ── Output ──

    /// Sends a request; `reads_eagerly` if the client reads each response as soon as it comes.
    pub(super) fn ask(&mut self, request: Request, has_id: bool, reads_eagerly: bool, env: &mut Environment) {
        match self.codec.framing {
            Framing::Http => {
                let own = self.expectations.issued.last().copied();
                let request = match own.filter(|_| env.random.chance(70)) {
                    Some(token) => request.with_token(token),
                    None => request,
                };
                self.post(request, has_id, false, reads_eagerly, env);
            }
            Framing::Text => {
                let line = line_of(&request, &mut env.random);
                self.outgoing.extend(line.bytes());
                self.expectations.expect(request, None, RequestHead::default(), env);
            }
            framing => {
                let request = request.without_http();
                let id = self.choose_id(&request, has_id, env);
                let text = request.text(id.as_deref(), true, &env.knowledge.model);
                if framing == Framing::WebSocket {
                    let bytes = self.codec.frames(text.as_bytes(), &mut env.random);
                    self.outgoing.extend(bytes);
                } else {
                    self.outgoing.extend(text.bytes());
                    if env.random.chance(60) {
                        self.outgoing.extend(env.random.pick(&["\n", " ", "\r\n", "  \t\n"]).bytes());
                    }
                }
                self.expectations.on_sent(&request, env);
                self.expectations.expect(request, id, RequestHead::default(), env);
            }
        }
    }

    /// Sends a request over HTTP.
    fn post(
        &mut self,
        request: Request,
        has_id: bool,
        is_last: bool,
        reads_eagerly: bool,
        env: &mut Environment,
    ) {
        let path = self.choose_path(&request, env);
        let is_page = matches!(request, Request::Health | Request::FrontPage);
        let is_get = is_page || request.verb_form() == Some(VerbForm::Get);
        let id = self.choose_id(&request, has_id, env);
        let random = &mut env.random;
        let token = request.token().filter(|_| request.needs_bearer_token() || random.chance(70));
        let bearer_token = token.map(|token| env.knowledge.model.tokens[token].text.clone());
        let head =
            RequestHead { has_bearer_token: bearer_token.is_some(), names_verb: path.is_some() && !is_page };
        // A client that reads late, or has other responses to read first, would send the body too late.
        let reads_response_soon =
            reads_eagerly && (self.has_nothing_pending() || env.config.window_bytes >= WINDOW_BYTES_ASKED);
        let random = &mut env.random;
        let http_style = HttpStyle {
            path,
            bearer_token,
            is_chunked: random.chance(30),
            expects_continue: reads_response_soon && random.chance(10),
            is_last,
        };
        let text = match is_get {
            true => String::new(),
            false => request.text(id.as_deref(), !head.has_bearer_token, &env.knowledge.model),
        };
        if is_get {
            self.outgoing.extend(ClientCodec::get(&http_style));
        } else {
            // A request without a body is answered without `100 Continue`.
            let http_style =
                HttpStyle { expects_continue: http_style.expects_continue && !text.is_empty(), ..http_style };
            let (head, body) = ClientCodec::request(&text, &http_style, random);
            self.outgoing.extend(head);
            match http_style.expects_continue {
                true => self.withheld_body = Some(body),
                false => self.outgoing.extend(body),
            }
        }
        self.expectations.on_sent(&request, env);
        self.expectations.expect(request, id, head, env);
    }

    /// The path of a request over HTTP; `None` for any that names no verb.
    fn choose_path(&self, request: &Request, env: &mut Environment) -> Option<&'static str> {
        match request {
            Request::Health => Some("/healthz"),
            Request::FrontPage => Some("/"),
            Request::Invalid(_) => None,
            // A message with a name of its own may come for the path of any verb.
            _ => request
                .verb_paths()
                .or_else(|| env.random.chance(5).then_some(STAT_PATHS))
                .map(|paths| env.random.pick(&paths)),
        }
    }

    /// Sends a request, and over HTTP also ends the connection: what follows must have no effect.
    pub(super) fn ask_and_close(&mut self, request: Request, reads_eagerly: bool, env: &mut Environment) {
        if self.codec.framing != Framing::Http {
            return self.ask(request, false, reads_eagerly, env);
        }
        self.post(request, false, true, reads_eagerly, env);
        if env.random.chance(60) {
            let after = Request::Ping.text(None, true, &env.knowledge.model);
            let (head, body) = ClientCodec::request(&after, &HttpStyle::default(), &mut env.random);
            let bytes = [head, body].concat();
            match &mut self.withheld_body {
                Some(withheld_body) => withheld_body.extend(bytes),
                None => self.outgoing.extend(bytes),
            }
        }
    }

    fn choose_id(&mut self, request: &Request, has_id: bool, env: &mut Environment) -> Option<String> {
        let has_id = has_id || matches!(request, Request::Convert { .. });
        (has_id && !request.has_no_id()).then(|| self.new_id(request, env))
    }

    /// An id for a request; sometimes that of another request like it.
    fn new_id(&mut self, request: &Request, env: &mut Environment) -> String {
        self.marks += 1;
        // Of two equal requests it is unknown which one was refused.
        let is_alone = matches!(request, Request::Get { .. } | Request::Container(_));
        let may_share = !matches!(request, Request::Convert { .. }) || !env.config.limits_requests();
        if may_share
            && !is_alone
            && let Some(id) = self.expectations.id_of_last(request)
            && env.random.chance(10)
        {
            return id;
        }
        if env.random.chance(50) { format!("\"c{}\"", self.marks) } else { self.marks.to_string() }
    }
}

/// Whether a reply says that there is no memory for the request.
fn is_out_of_memory(text: &str) -> bool {
    text.contains(&*Failure::RequestMemoryFull.message())
}

/// The least window of a client that waits for `100 Continue` while other responses are due.
const WINDOW_BYTES_ASKED: usize = 4096;
