//! What one client is owed: which replies, in which order, and in whose name its requests are made.

use std::collections::{BTreeMap, VecDeque};

use super::deed::Deed;
use super::herd::HerdToken;
use super::judge::{Auth, Judge};
use super::reply::{Reply, Said};
use super::request::{LastWords, What};
use super::speech::Framing;
use super::world::World;
use crate::clock::Instant;
use crate::limits;

/// The replies that are due to one client, and what those that came have told it.
pub(super) struct Ledger {
    client: usize,
    listener: usize,
    /// To requests without an id, in their order.
    serial: VecDeque<Expected>,
    /// To the others, in any order; by id, of which several may have the same.
    named: BTreeMap<String, Vec<Expected>>,
    last_named: Option<(String, What)>,
    /// Each request is answered before the next is looked at, and made in the name of its own token.
    is_by_request: bool,
    is_text: bool,
    /// When the last answer was due that was to be given later.
    last_due: Instant,
    /// Nothing more needs to come, though it may.
    pub(super) is_forgiven: bool,
    pub(super) barriers: usize,
    /// In whose name requests are made after so many barriers.
    auths: Vec<Auth>,
    /// Tokens issued on this connection: a logout ends them.
    pub(super) issued: Vec<usize>,
    /// Tokens that were shown on it: a logout may end them.
    shown: Vec<usize>,
    /// The last words have come.
    pub(super) has_last_words: bool,
    /// A request is given up then at the earliest.
    pub(super) timed_out_from: Option<Instant>,
}

struct Expected {
    what: What,
    sent: Instant,
    /// The same, as requests and answers about metrics are counted.
    moment: u64,
    is_in_turn: bool,
    barriers_before: usize,
    /// Of one that is answered in its turn.
    id: Option<String>,
    is_bearer: bool,
}

impl Ledger {
    pub(super) fn new(client: usize, listener: usize, framing: Framing) -> Ledger {
        Ledger {
            client,
            listener,
            serial: VecDeque::new(),
            named: BTreeMap::new(),
            last_named: None,
            is_by_request: framing == Framing::Http,
            is_text: framing == Framing::Text,
            last_due: Instant::ORIGIN,
            is_forgiven: false,
            barriers: 0,
            auths: vec![Auth::Anonymous],
            issued: Vec::new(),
            shown: Vec::new(),
            has_last_words: false,
            timed_out_from: None,
        }
    }

    /// A reply to `what` is due from now on.
    pub(super) fn expect(&mut self, what: What, id: Option<String>, is_bearer: bool, world: &World) {
        let barriers_before = if self.is_by_request { 0 } else { self.barriers };
        self.barriers += usize::from(what.is_barrier());
        let is_in_turn = id.is_none() || self.is_by_request;
        let (sent, moment) = (world.now, world.metrics.moment());
        let mut expected = Expected { sent, moment, is_in_turn, barriers_before, what, id: None, is_bearer };
        match id {
            Some(id) if !self.is_by_request => {
                self.last_named = Some((id.clone(), expected.what.clone()));
                self.named.entry(id).or_default().push(expected);
            }
            id => {
                expected.id = id;
                self.serial.push_back(expected);
            }
        }
    }

    /// What the request may do from now on.
    pub(super) fn foresee(&mut self, what: &What, world: &mut World) {
        let herd = &mut world.herd;
        match what {
            What::Register { vm } => herd.vms[*vm].may_exist += 1,
            What::Authenticate { .. } if self.is_by_request => {}
            What::Authenticate { vm, is_right: true } => drop(herd.vms[*vm].suitors.insert(self.client)),
            What::Update { ram, token } => {
                // Whose memory it is depends on replies that have not come: it may be anybody's.
                let vm = token.map(|token| herd.tokens[token].vm);
                let vms = herd.vms.iter_mut().enumerate();
                for (_, vm) in vms.filter(|(at, _)| vm.is_none_or(|vm| vm == *at)) {
                    vm.rams_ever.insert(*ram);
                    vm.rams.insert(*ram);
                }
                let of_login = match self.auths.last() {
                    Some(Auth::As(vm)) => Some(*vm),
                    _ => None,
                };
                if let Some(vm) = vm.or(of_login) {
                    herd.vms[vm].begin_update();
                }
            }
            What::Logout { token } => {
                let others = self.issued.iter().chain(&self.shown).filter(|_| !self.is_by_request);
                for token in others.chain(token) {
                    herd.tokens[*token].may_be_ended = true;
                }
            }
            What::Do(deed) => deed.foresee(herd),
            _ => {}
        }
        if let Some(token) = what.token().filter(|_| !self.is_by_request) {
            let vm = herd.tokens[token].vm;
            herd.vms[vm].suitors.insert(self.client);
            self.shown.push(token);
        }
    }

    /// Takes one line from the server, which has to be a reply that is due.
    pub(super) fn take(
        &mut self,
        line: &[u8],
        status: Option<u16>,
        port: u16,
        world: &mut World,
    ) -> Result<(), String> {
        if self.has_last_words {
            return Err("something comes after the last words".to_owned());
        }
        let reply = if self.is_text { Reply::read_lines(line)? } else { Reply::read(line)? };
        world.log(|| {
            format!("client {} gets {}", self.client, String::from_utf8_lossy(&line[..line.len().min(160)]))
        });
        let expected = match &reply.id {
            id if id.is_none() || self.is_by_request => {
                let expected = self.serial.pop_front().ok_or("a reply that nobody has asked for")?;
                if expected.id != *id {
                    return Err(format!("not the reply to what was asked first, {:?}", expected.what));
                }
                self.check(&expected, &reply, status, port, world)
                    .map_err(|error| format!("{error}, {:?}", expected.what))?;
                expected
            }
            id => {
                let id = id.as_deref().unwrap_or_default();
                let mut wrong = "a reply with an id that nobody has sent".to_owned();
                let known = self.named.get(id).map_or(&[][..], |known| known);
                let found = known.iter().position(|expected| {
                    match self.check(expected, &reply, status, port, world) {
                        Ok(()) => true,
                        Err(error) => {
                            wrong = format!("{error}, {:?}", expected.what);
                            false
                        }
                    }
                });
                let found = found.ok_or(wrong)?;
                let known = self.named.get_mut(id).ok_or("it was just there")?;
                let expected = known.remove(found);
                if known.is_empty() {
                    self.named.remove(id);
                }
                expected
            }
        };
        if let (What::Convert { mark }, Said::Success) = (&expected.what, &reply.said) {
            self.check_due(*mark, world)?;
        }
        self.learn(expected, &reply, world);
        Ok(())
    }

    /// Whether everything that is due has come.
    pub(super) fn is_owed_nothing(&self) -> bool {
        self.is_forgiven || self.serial.is_empty() && self.named.is_empty()
    }

    /// Whether it is known in whose name the next request is made.
    pub(super) fn is_login_certain(&self) -> bool {
        self.is_by_request
            || self.auths.len() == self.barriers + 1 && self.auths.last() != Some(&Auth::Unsure)
    }

    /// Whether the connection is certain to be somebody's.
    pub(super) fn is_logged_in(&self, world: &World) -> bool {
        let is_certain = !self.is_by_request && self.is_login_certain();
        is_certain && matches!(self.auths.last(), Some(Auth::As(vm)) if !world.herd.vms[*vm].is_disturbed)
    }

    /// Whether an answer in pages may have failed after its beginning: then nothing tells but the end.
    pub(super) fn may_be_broken_off(&self, world: &World) -> bool {
        let weather = &world.weather;
        let may_fail = weather.is_failure_possible() || weather.is_busy_possible() || weather.operator_acts;
        let has_many_points = world.metrics.count() > limits::POINTS_PER_PAGE_MAX;
        let has_pages = |what: &What| match what {
            What::List { .. } | What::Do(Deed::List(_)) => weather.big_herd,
            What::Get { .. } => has_many_points,
            _ => false,
        };
        may_fail && self.due().any(has_pages)
    }

    /// The id of the request with an id that was made last, if it was like `what`.
    pub(super) fn id_of_last(&self, what: &What) -> Option<String> {
        let (id, last) = self.last_named.as_ref()?;
        let is_alike = last == what || matches!((last, what), (What::Convert { .. }, What::Convert { .. }));
        (is_alike && self.named.contains_key(id)).then(|| id.clone())
    }

    /// The replies due, for people.
    pub(super) fn describe(&self) -> String {
        let shown: Vec<&What> = self.due().take(4).collect();
        format!("{} replies due {shown:?}", self.due().count())
    }

    fn due(&self) -> impl Iterator<Item = &What> {
        let named = self.named.values().flatten();
        self.serial.iter().chain(named).map(|expected| &expected.what)
    }

    /// Whether the time has come for what was to be answered later, and for none before.
    fn check_due(&mut self, mark: u64, world: &World) -> Result<(), String> {
        let due = *world.dues.get(&mark).ok_or("converted without a delay")?;
        if world.now < due {
            return Err(format!("converted {:?} too early", due - world.now));
        }
        if due < self.last_due {
            return Err("converted before one whose delay ended earlier".to_owned());
        }
        self.last_due = due;
        Ok(())
    }

    fn check(
        &self,
        expected: &Expected,
        reply: &Reply,
        status: Option<u16>,
        port: u16,
        world: &World,
    ) -> Result<(), String> {
        if expected.what == What::LastWords(LastWords::TimedOut)
            && self.timed_out_from.is_some_and(|from| world.now < from)
        {
            return Err("a request is given up too early".to_owned());
        }
        let auth = *self.auths.get(expected.barriers_before).ok_or("it overtakes a barrier")?;
        let judge = Judge {
            weather: &world.weather,
            herd: &world.herd,
            metrics: &world.metrics,
            wall_clock: &world.wall_clock,
            now: world.now,
            client: self.client,
            port,
            listener: self.listener,
            client_of_port: &|port| world.client_of_port(port),
            auth,
            sent: expected.sent,
            moment: expected.moment,
            is_in_turn: expected.is_in_turn,
            is_by_request: self.is_by_request,
            status,
            is_bearer: expected.is_bearer,
        };
        judge.check(&expected.what, reply)
    }

    /// Remembers what the reply has told.
    fn learn(&mut self, expected: Expected, reply: &Reply, world: &mut World) {
        let before = self.auths[expected.barriers_before];
        let herd = &mut world.herd;
        let is_success = reply.said == Said::Success;
        match expected.what {
            What::Register { vm } => {
                let vm = &mut herd.vms[vm];
                let is_open = reply.said == Said::OutcomeUnknown;
                vm.may_exist -= usize::from(!is_open);
                if is_success || reply.said == Said::AlreadyRegistered {
                    vm.exists_since.get_or_insert(world.now);
                }
            }
            What::Authenticate { vm, .. } if is_success => {
                let may_be_ended = self.due().any(|what| matches!(what, What::Logout { .. }));
                let text = reply.data["token"].as_str().unwrap_or_default().to_owned();
                let may_be_ended = may_be_ended || herd.vms[vm].is_disturbed;
                let (asked, ended_since) = (expected.sent, None);
                let issued = world.wall_clock.range(asked, world.now);
                herd.tokens.push(HerdToken { text, vm, asked, issued, may_be_ended, ended_since });
                self.issued.push(herd.tokens.len() - 1);
            }
            What::Update { ram, token } => {
                let vm = match (token, before) {
                    (Some(token), _) => Some(herd.tokens[token].vm),
                    (None, Auth::As(vm)) => Some(vm),
                    _ => None,
                };
                if let Some(vm) = vm {
                    let vm = &mut herd.vms[vm];
                    match reply.said {
                        Said::Success => vm.end_update(Some(ram)),
                        Said::OutcomeUnknown => {}
                        _ => {
                            vm.end_update(None);
                            vm.rams.remove(&ram);
                        }
                    }
                }
            }
            What::Logout { token } if is_success => {
                let issued = if self.is_by_request { Vec::new() } else { std::mem::take(&mut self.issued) };
                for token in issued.into_iter().chain(token) {
                    herd.tokens[token].ended_since.get_or_insert(world.now);
                }
            }
            What::Put { batch, .. } => world.metrics.learn(batch, &reply.said, world.now),
            What::Do(deed) => deed.learn(reply, herd, world.now),
            What::LastWords(_) => self.has_last_words = true,
            _ => {}
        }
        if expected.what.is_barrier() && !self.is_by_request {
            let after = auth_after(&expected.what, before, &reply.said, world);
            self.auths.push(after);
        }
    }
}

/// In whose name the connection asks after a barrier.
fn auth_after(what: &What, before: Auth, said: &Said, world: &World) -> Auth {
    let vm_of = |token: &usize| world.herd.tokens[*token].vm;
    match (what, said) {
        (What::Authenticate { vm, .. }, Said::Success) => Auth::As(*vm),
        // Refused before anybody looked at it, or begun and failed.
        (What::Authenticate { .. }, Said::Busy)
            if before != Auth::Anonymous && world.weather.has_few_requests() =>
        {
            Auth::Unsure
        }
        (What::Authenticate { .. }, _) => Auth::Anonymous,
        (What::Register { .. } | What::Bad(_), _) => before,
        (What::Logout { .. }, Said::Success) => Auth::Anonymous,
        (_, Said::InvalidToken | Said::TokenOfAnotherVm) => before,
        (
            What::List { token, .. }
            | What::Update { token, .. }
            | What::Logout { token }
            | What::Put { token, .. }
            | What::Get { token, .. },
            said,
        ) => match (token.as_ref().map(vm_of), said) {
            (None, Said::AuthenticationRequired) if before != Auth::Anonymous => Auth::Unsure,
            (None, _) => before,
            (Some(vm), Said::Success) => Auth::As(vm),
            (Some(vm), _) if before == Auth::As(vm) => before,
            (Some(_), _) => Auth::Unsure,
        },
        _ => before,
    }
}
