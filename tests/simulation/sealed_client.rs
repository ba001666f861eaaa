//! A fake client of the sealed listener: it takes the steps of its [`Script`], and checks every byte that it gets.

use std::time::Duration;

use super::fake_keys::{self, SERVER_KEY};
use super::random::Random;
use super::sealed_messages::{SealedMessages, clear_length};
use super::sealed_script::{ClientStep, Fault, Generation, Script};
use super::steps::Step;
use super::verification::{Verification, ensure};
use vmherd::internals::clock::Instant;
use vmherd::internals::crypto::BLOCK_BYTES;
use vmherd::internals::limits;

/// The client's end of a sealed connection.
pub(super) struct SealedClient {
    random: Random,
    script: Script,
    messages: SealedMessages,
    /// What an earlier client has sent: it sends that, and nothing of its own.
    replayed: Option<Vec<u8>>,
    /// The part of the server's message that is complete.
    input: Vec<u8>,
    due: Piece,
    answer_bytes: usize,
    /// All that it has sent.
    sent: Vec<u8>,
    steps: Vec<Step>,
    /// Nothing of its plan remains to be done after those.
    ends_plan: bool,
    /// The server gets its request, from then on: whether the client gets the answer.
    sent_request: Option<bool>,
    /// The server's last byte has come.
    is_finished: bool,
    /// There is no memory for it, and a refusal may come at any time.
    pub(super) is_out_of_memory: bool,
    /// When its last step began, at the earliest: it had connected, or sent the step before.
    step_began: Instant,
    is_stalled: bool,
}

/// What the server sends, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Piece {
    KeyLengthAck,
    KeyAck,
    KeyLength,
    Key,
    BlockAck,
    Block,
    LengthAck,
    AnswerLength,
    Answer,
    /// A refusal, the last byte.
    Refusal,
    /// Nothing.
    End,
}

/// What a client has received.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum SealedMessage {
    Answer(String),
    /// The server has refused its step: it has broken a rule, or the keys could not be exchanged.
    Refusal {
        has_broken_rule: bool,
    },
}

impl SealedClient {
    /// A client that has not begun.
    pub(super) fn new(random: Random) -> SealedClient {
        let script = Script {
            generation: Generation::First,
            is_eager: false,
            acks_early: false,
            finishes_early: false,
            dawdles_percent: 0,
            fault: None,
        };
        SealedClient {
            random,
            messages: SealedMessages::new(script.generation),
            script,
            replayed: None,
            input: Vec::new(),
            due: Piece::End,
            answer_bytes: 0,
            sent: Vec::new(),
            steps: Vec::new(),
            ends_plan: false,
            sent_request: None,
            is_finished: false,
            is_out_of_memory: false,
            step_began: Instant::ORIGIN,
            is_stalled: false,
        }
    }

    /// Begins, to send `request`.
    pub(super) fn begin(&mut self, request: String, accepts_first: bool) {
        self.script = Script::draw(accepts_first, &mut self.random);
        self.messages = SealedMessages::draw(self.script.generation, request, &mut self.random);
        self.due = self.replaced(Piece::KeyLengthAck);
        self.take_steps_from(ClientStep::KeyLength);
    }

    /// Begins, to send what an earlier client of this generation has sent.
    pub(super) fn begin_replay(&mut self, (generation, bytes): (Generation, Vec<u8>)) {
        let refused = match generation {
            Generation::Third => ClientStep::RequestLength,
            _ => ClientStep::Request,
        };
        (self.script.generation, self.script.fault) = (generation, Some((refused, Fault::Break)));
        self.messages = SealedMessages::new(generation);
        self.due = Piece::KeyLengthAck;
        self.steps.push(Step::Send(bytes.clone()));
        self.replayed = Some(bytes);
    }

    // ── The plan ──

    /// Takes the steps that follow, and whether those are the last.
    pub(super) fn take_steps(&mut self) -> (Vec<Step>, bool) {
        (std::mem::take(&mut self.steps), std::mem::take(&mut self.ends_plan))
    }

    /// Whether the client gets an answer, once the server gets the request; told once.
    pub(super) fn take_sent_request(&mut self) -> Option<bool> {
        self.sent_request.take()
    }

    /// What another client may send again, if this one got its answer.
    pub(super) fn recording(&self) -> Option<(Generation, Vec<u8>)> {
        let is_own = self.replayed.is_none() && self.script.fault.is_none();
        is_own.then(|| (self.script.generation, self.sent.clone()))
    }

    /// It has connected or sent something: its next step begins, unless it stalls.
    pub(super) fn note_progress(&mut self, now: Instant) {
        if !self.is_stalled {
            self.step_began = now;
        }
    }

    /// Whether nothing more is due from the server.
    pub(super) fn has_nothing_pending(&self) -> bool {
        self.due == Piece::End
    }

    /// Whether the server has to end the connection.
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    pub(super) fn is_at_boundary(&self) -> bool {
        self.input.is_empty()
    }

    /// Whether the length of the answer has come.
    pub(super) fn has_answer_length(&self) -> bool {
        self.answer_bytes > 0
    }

    /// Whether a refusal comes at the right time: `may_be_busy` if the server may be.
    pub(super) fn check_refusal(
        &self,
        has_broken_rule: bool,
        may_be_busy: bool,
        now: Instant,
    ) -> Verification {
        if !has_broken_rule {
            return ensure(may_be_busy, "keys are refused without need");
        }
        let is_early = self.is_stalled && now < self.step_began + limits::REQUEST_TIMEOUT;
        ensure(!is_early, "a step times out too early")
    }

    // ── Output ──

    /// Plans `step`, and those after it that do not wait for the server.
    fn take_steps_from(&mut self, step: ClientStep) {
        let mut step = Some(step);
        while let Some(now) = step {
            if !self.plan_step(now) {
                return;
            }
            let waits = match now {
                ClientStep::KeyLength | ClientStep::Key | ClientStep::LengthAck => !self.script.is_eager,
                ClientStep::KeyAck | ClientStep::BlockAck => false,
                ClientStep::Block | ClientStep::RequestLength | ClientStep::AnswerAck => true,
                ClientStep::Request => !self.script.acks_early,
            };
            if now == ClientStep::AnswerAck && self.script.finishes_early {
                self.steps.push(Step::Finish);
            }
            step = now.next().filter(|_| !waits);
        }
    }

    /// Plans one step; returns whether others follow.
    fn plan_step(&mut self, step: ClientStep) -> bool {
        let stalls = self.script.fault == Some((step, Fault::Stall));
        if !stalls && self.random.chance(self.script.dawdles_percent) {
            let pause = self.random.micros(0, DAWDLE_MICROS_MAX);
            self.steps.push(Step::Pause(pause));
        }
        let bytes = self.messages.bytes_of(step);
        let fault = self.script.fault.filter(|(at, _)| *at == step).map(|(_, fault)| fault);
        let Some(fault) = fault else {
            if step == ClientStep::Request {
                self.sent_request = Some(self.script.fault.is_none());
            }
            self.sent.extend(&bytes);
            self.steps.push(Step::Send(bytes));
            return true;
        };
        self.ends_plan = true;
        let part = bytes[..self.random.between(0, bytes.len() - 1).min(PART_BYTES_MAX)].to_vec();
        match fault {
            Fault::Stall => {
                self.is_stalled = true;
                self.steps.extend([Step::Send(part), Step::Deadline(limits::REQUEST_TIMEOUT)]);
                if matches!(step, ClientStep::Key | ClientStep::Block) && self.random.chance(50) {
                    let every = self.random.micros(300_000, 1_500_000);
                    self.steps.push(Step::Drip { byte: b'x', every });
                }
            }
            Fault::Finish => {
                let pause = self.random.micros(0, 1_000_000);
                self.steps.extend([
                    Step::Send(part),
                    Step::Pause(pause),
                    Step::Deadline(Duration::ZERO),
                    Step::Finish,
                ]);
            }
            Fault::Reset => {
                let pause = self.random.micros(0, 100_000);
                self.steps.extend([Step::Send(part), Step::Pause(pause), Step::Reset]);
            }
            Fault::Refuse(byte) => {
                self.steps.push(Step::Deadline(Duration::ZERO));
                self.push_with_more(vec![byte]);
            }
            Fault::Break => {
                let bytes = self.messages.broken(step, bytes, &mut self.random);
                self.push_with_more(bytes);
            }
            Fault::TooOld => self.push_with_more(bytes),
        }
        false
    }

    /// Sends `bytes`, and sometimes others, which must have no effect.
    fn push_with_more(&mut self, mut bytes: Vec<u8>) {
        if self.random.chance(50) {
            bytes.extend(b"1".repeat(self.random.between(1, 3)));
            bytes.extend(&self.sent);
        }
        self.steps.push(Step::Send(bytes));
    }

    // ── Input ──

    /// Takes received bytes.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<Vec<SealedMessage>, String> {
        self.input.extend(bytes);
        let mut messages = Vec::new();
        while !self.input.is_empty() {
            let may_be_refused = self.is_out_of_memory || self.due == Piece::BlockAck;
            if may_be_refused && self.input == b"0" && self.due != Piece::Refusal {
                (self.due, self.is_finished) = (Piece::End, true);
                self.input.clear();
                messages.push(SealedMessage::Refusal { has_broken_rule: self.is_out_of_memory });
                break;
            }
            let count = self.bytes_due();
            if self.input.len() < count {
                break;
            }
            let piece: Vec<u8> = self.input.drain(..count).collect();
            messages.extend(self.take(&piece)?);
        }
        Ok(messages)
    }

    /// How many bytes are due.
    fn bytes_due(&self) -> usize {
        match self.due {
            Piece::KeyLength => 8,
            Piece::Key => SERVER_KEY.len(),
            Piece::Block => fake_keys::BLOCKS[1],
            Piece::AnswerLength if self.script.generation == Generation::Third => BLOCK_BYTES,
            Piece::AnswerLength => 8,
            Piece::Answer => self.answer_bytes,
            _ => 1,
        }
    }

    /// Takes a whole piece.
    fn take(&mut self, piece: &[u8]) -> Result<Option<SealedMessage>, String> {
        let due = self.due;
        let wrong = || format!("not the {due:?} that is due: {}", piece.escape_ascii());
        let (is_right, next) = match self.due {
            Piece::KeyLengthAck => (piece == b"1", Some(ClientStep::Key)),
            Piece::KeyLength => (piece == clear_length(SERVER_KEY.len()), Some(ClientStep::LengthAck)),
            Piece::Key => (piece == SERVER_KEY.as_bytes(), Some(ClientStep::KeyAck)),
            Piece::Block => {
                self.messages.take_keys(piece, self.replayed.is_some())?;
                (true, Some(ClientStep::BlockAck))
            }
            Piece::LengthAck => (piece == b"1", Some(ClientStep::Request)),
            Piece::AnswerLength => {
                self.answer_bytes = self.messages.read_length(piece).ok_or_else(wrong)?;
                (true, Some(ClientStep::AnswerAck))
            }
            Piece::Answer => {
                let answer = self.messages.open(piece).ok_or_else(wrong)?;
                (self.due, self.is_finished) = (Piece::End, true);
                return Ok(Some(SealedMessage::Answer(answer)));
            }
            Piece::KeyAck | Piece::BlockAck => (piece == b"1", None),
            Piece::Refusal if piece == b"0" => {
                (self.due, self.is_finished) = (Piece::End, true);
                return Ok(Some(SealedMessage::Refusal { has_broken_rule: true }));
            }
            Piece::Refusal | Piece::End => (false, None),
        };
        if !is_right {
            return Err(wrong());
        }
        self.due = self.replaced(after(self.due));
        let next = next.filter(|_| self.replayed.is_none()).filter(|next| match next {
            ClientStep::Key | ClientStep::LengthAck | ClientStep::KeyAck => !self.script.is_eager,
            ClientStep::AnswerAck => !self.script.acks_early,
            _ => true,
        });
        if let Some(next) = next {
            self.take_steps_from(next);
        }
        Ok(None)
    }

    /// What comes instead of `piece`, if the client's fault prevents that.
    fn replaced(&self, piece: Piece) -> Piece {
        match self.script.fault {
            Some((step, fault)) if reaction(step) == piece => match fault {
                Fault::Stall if step == ClientStep::AnswerAck => Piece::End,
                Fault::Stall | Fault::Break | Fault::TooOld => Piece::Refusal,
                Fault::Finish | Fault::Reset | Fault::Refuse(_) => Piece::End,
            },
            _ => piece,
        }
    }
}

/// What the server sends next, if all goes well.
fn after(piece: Piece) -> Piece {
    match piece {
        Piece::KeyLengthAck => Piece::KeyAck,
        Piece::KeyAck => Piece::KeyLength,
        Piece::KeyLength => Piece::Key,
        Piece::Key => Piece::BlockAck,
        Piece::BlockAck => Piece::Block,
        Piece::Block => Piece::LengthAck,
        Piece::LengthAck => Piece::AnswerLength,
        Piece::AnswerLength => Piece::Answer,
        Piece::Answer | Piece::Refusal | Piece::End => Piece::End,
    }
}

/// What the server sends for a step.
fn reaction(step: ClientStep) -> Piece {
    match step {
        ClientStep::KeyLength => Piece::KeyLengthAck,
        ClientStep::Key => Piece::KeyAck,
        ClientStep::LengthAck => Piece::Key,
        ClientStep::KeyAck | ClientStep::Block => Piece::BlockAck,
        ClientStep::BlockAck | ClientStep::RequestLength => Piece::LengthAck,
        ClientStep::Request => Piece::AnswerLength,
        ClientStep::AnswerAck => Piece::Answer,
    }
}

/// The longest time that a client takes for a step.
const DAWDLE_MICROS_MAX: usize = 5_000_000;
/// Most bytes of an incomplete step. More are sent one by one.
const PART_BYTES_MAX: usize = 100;
