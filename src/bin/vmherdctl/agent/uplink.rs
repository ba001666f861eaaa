//! The connection to the server: authenticates, sends samples, and connects again when it is lost.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{Level, info, log, warn};
use vmherd::client::{Client, ClientError, NewVm, Point, ServerAddress};

use super::backlog::Batch;
use super::backoff::{Backoff, random_fraction};
use super::credentials::Credentials;
use super::key::metric_key;
use super::limits;
use super::outbox::{Next, Outbox};
use super::sample::Sample;

/// The thread that sends.
pub struct Uplink<F> {
    server: ServerAddress,
    /// The name of the VM.
    name: String,
    credentials: Credentials,
    /// What to register where the server does not know the VM, without a password.
    registration: Option<NewVm>,
    outbox: Arc<Outbox>,
    /// Called after each login.
    on_login: F,
    /// Pauses while the server is away or busy.
    reconnect: Backoff,
    /// Pauses after it refused the credentials.
    refused: Backoff,
    /// The age at which the kept token is replaced.
    token_age_max: Duration,
    /// When this was tried last.
    renewal_tried: Option<Instant>,
    refusals: Refusals,
}

/// Points that the server refused, which are dropped.
#[derive(Default)]
struct Refusals {
    /// Since the last line in the log.
    points: usize,
    logged: Option<Instant>,
}

/// Why there is no session.
enum Failure {
    /// The server is away or busy, which passes.
    Away(String),
    /// The credentials, or the server's rules: a person must help.
    Refused(String),
}

impl<F: FnMut()> Uplink<F> {
    /// Sends the samples in `outbox` to `server` as the VM `name`.
    pub fn new(
        server: ServerAddress,
        name: String,
        credentials: Credentials,
        registration: Option<NewVm>,
        outbox: Arc<Outbox>,
        on_login: F,
    ) -> Uplink<F> {
        let reconnect = Backoff::new(limits::RECONNECT_PAUSE_MIN, limits::RECONNECT_PAUSE_MAX);
        let refused = Backoff::new(limits::REFUSED_PAUSE_MIN, limits::REFUSED_PAUSE_MAX);
        Uplink {
            server,
            name,
            credentials,
            registration,
            outbox,
            on_login,
            reconnect,
            refused,
            token_age_max: limits::TOKEN_AGE_MAX.mul_f64(1.0 + random_fraction()),
            renewal_tried: None,
            refusals: Refusals::default(),
        }
    }

    /// Runs until the outbox is stopped. What can be sent at once is sent before.
    pub fn run(mut self) {
        let mut logged = None;
        loop {
            let failure = match self.session(&mut logged) {
                Ok(()) => return,
                Err(failure) => failure,
            };
            if self.outbox.pause(Duration::ZERO) {
                return;
            }
            let (level, text, pause) = match failure {
                Failure::Away(text) => (Level::Warn, text, self.reconnect.pause()),
                Failure::Refused(text) => (Level::Error, text, self.refused.pause()),
            };
            // A failure that goes on is logged once.
            if logged.as_ref() != Some(&text) {
                log!(level, "{text}; trying again");
                logged = Some(text);
            }
            if self.outbox.pause(pause) {
                return;
            }
        }
    }

    /// One connection, until the outbox is stopped.
    fn session(&mut self, logged: &mut Option<String>) -> Result<(), Failure> {
        let mut client = Client::connect_to(&self.server, Some(limits::CONNECT_TIMEOUT))?;
        let by = self.log_in(&mut client)?;
        self.refused.reset();
        *logged = None;
        let (server, name, waiting) = (&self.server, &self.name, self.outbox.count());
        info!("connected to {server} as {name} by {by}; waiting samples: {waiting}");
        (self.on_login)();
        loop {
            match self.outbox.next(limits::IDLE_CHECK) {
                Next::Batch(batch) => {
                    self.send(&mut client, &batch)?;
                    self.outbox.remove(&batch);
                    self.reconnect.reset();
                    self.renew_token(&mut client)?;
                }
                Next::Idle => client.check_open()?,
                Next::Stop => return Ok(()),
            }
        }
    }

    /// Authenticates; returns by what.
    fn log_in(&mut self, client: &mut Client) -> Result<&'static str, Failure> {
        client.set_timeout(Some(limits::REQUEST_TIMEOUT));
        let tokens = self.credentials.tokens()?;
        let had_tokens = !tokens.is_empty();
        for token in tokens {
            client.set_token(Some(token.clone()));
            let result = self.probe(client);
            client.set_token(None);
            match result {
                Err(error) if is_message(&error, INVALID_TOKEN) => {
                    warn!("the server refuses the token");
                    self.credentials.forget(&token)?;
                }
                result => return result.map(|()| "token").map_err(Failure::from),
            }
        }
        let Some(password) = self.credentials.password()? else {
            let why = if had_tokens { "the server refused the token" } else { "there is no token" };
            return Err(Failure::Refused(format!("{why}, and there is no password")));
        };
        client.set_timeout(Some(limits::LOGIN_TIMEOUT));
        let is_closed = self.register(client, &password)?;
        self.log_in_by_password(client, &password).map_err(|failure| match failure {
            Failure::Refused(why) if is_closed => {
                Failure::Refused(format!("{why}, and registration is closed"))
            }
            failure => failure,
        })?;
        Ok("password")
    }

    /// Replaces a token that is old, by means of the password, if there is one.
    fn renew_token(&mut self, client: &mut Client) -> Result<(), Failure> {
        if self.credentials.kept_age().is_none_or(|age| age < self.token_age_max) {
            return Ok(());
        }
        let Ok(Some(password)) = self.credentials.password() else { return Ok(()) };
        if self.renewal_tried.is_some_and(|tried| tried.elapsed() < limits::TOKEN_RETRY) {
            return Ok(());
        }
        self.renewal_tried = Some(Instant::now());
        self.log_in_by_password(client, &password)
    }

    /// Authenticates by password and keeps the token.
    fn log_in_by_password(&self, client: &mut Client, password: &str) -> Result<(), Failure> {
        client.set_timeout(Some(limits::LOGIN_TIMEOUT));
        let token = client.authenticate(&self.name, password)?;
        client.set_timeout(Some(limits::REQUEST_TIMEOUT));
        if let Err(error) = self.credentials.keep(&token) {
            warn!("the token can't be kept: {error}");
        }
        Ok(())
    }

    /// A request that needs the token and costs the server little: no point is so old.
    fn probe(&self, client: &mut Client) -> Result<(), ClientError> {
        let key = metric_key(&[&self.name, "load"]);
        client.get_between(&key, Some(i64::MIN), Some(i64::MIN)).map(drop)
    }

    /// Registers the VM, if that is wanted and it is new. Comes before the login, because a server delays logins after failed
    /// ones. Returns whether registration is closed.
    fn register(&self, client: &mut Client, password: &str) -> Result<bool, Failure> {
        let Some(registration) = self.registration.clone() else { return Ok(false) };
        match client.register(&NewVm { password: Some(password.to_owned()), ..registration }) {
            Ok(()) => info!("registered {}", self.name),
            Err(error) if is_message(&error, ALREADY_REGISTERED) => {}
            Err(error) if is_message(&error, REGISTRATION_CLOSED) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        Ok(false)
    }

    /// Sends `batch` until the server has it, or refuses it for good.
    fn send(&mut self, client: &mut Client, batch: &Batch) -> Result<(), Failure> {
        let points: Vec<Point> = batch.samples.iter().flat_map(points).collect();
        if self.put(client, &points)?.is_ok() {
            return Ok(());
        }
        // The server takes all points of a request or none. Its reasons are about keys: try each key by itself.
        let mut points = points;
        points.sort_by(|one, other| one.key.cmp(&other.key));
        for points in points.chunk_by(|one, other| one.key == other.key) {
            if let Err(why) = self.put(client, points)? {
                self.refusals.add(points, &why);
            }
        }
        Ok(())
    }

    /// Puts `points`, again and again while the server is busy. The inner error is the reason of a refusal.
    fn put(&mut self, client: &mut Client, points: &[Point]) -> Result<Result<(), String>, Failure> {
        let mut internal_errors = 0;
        loop {
            let message = match client.put_many(points).map_err(ClientError::from) {
                Ok(()) => return Ok(Ok(())),
                Err(ClientError::Server { message, .. }) => message,
                Err(ClientError::InvalidArgument(why)) => return Ok(Err(why)),
                Err(error) => return Err(error.into()),
            };
            if begins(&message, LOST_SESSION) {
                return Err(Failure::Away(message));
            }
            internal_errors += u32::from(message == INTERNAL_ERROR);
            if !begins(&message, TRANSIENT) || internal_errors > limits::INTERNAL_ERRORS_MAX {
                return Ok(Err(message));
            }
            if self.outbox.pause(self.reconnect.pause()) {
                return Err(Failure::Away(message));
            }
        }
    }
}

impl Refusals {
    /// Counts `points`, which are of one key; the log has a line at times.
    fn add(&mut self, points: &[Point], why: &str) {
        self.points += points.len();
        if self.logged.is_none_or(|logged| logged.elapsed() >= limits::REFUSALS_LOGGED) {
            warn!("the server refused {} points, the last of {}: {why}", self.points, points[0].key);
            *self = Refusals { points: 0, logged: Some(Instant::now()) };
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let is_refused = match &error {
            ClientError::Server { message, .. } => !begins(message, TRANSIENT),
            ClientError::InvalidArgument(_) => true,
            _ => false,
        };
        let variant = if is_refused { Failure::Refused } else { Failure::Away };
        variant(error.to_string())
    }
}

/// Files of credentials that can't be read or written.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Refused(error.to_string())
    }
}

fn is_message(error: &ClientError, expected: &str) -> bool {
    matches!(error, ClientError::Server { message, .. } if message.starts_with(expected))
}

fn begins(message: &str, texts: &[&str]) -> bool {
    texts.iter().any(|text| message.starts_with(text))
}

/// The points of a sample.
fn points(sample: &Sample) -> impl Iterator<Item = Point> {
    let timestamp = Some(sample.timestamp);
    sample.values.iter().map(move |(key, value)| Point { key: key.clone(), value: *value, timestamp })
}

/// What the server's messages begin with.
const INVALID_TOKEN: &str = "Invalid access token";
const ALREADY_REGISTERED: &str = "VM is already registered";
const REGISTRATION_CLOSED: &str = "Registration is closed";
const INTERNAL_ERROR: &str = "internal error";
/// Of messages about a passing state.
const TRANSIENT: &[&str] =
    &["busy", "store unavailable", "outcome unknown", INTERNAL_ERROR, "Request timeout"];
/// Of messages that tell a session that it is not authenticated any more.
const LOST_SESSION: &[&str] = &["You have to authenticate", "authentication required", INVALID_TOKEN];
