//! How a fake client of the sealed listener behaves: its generation, and what it does wrong.

use super::random::Random;

/// The form of its messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Generation {
    First,
    Second,
    Third,
}

/// What a client does, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum ClientStep {
    KeyLength,
    Key,
    LengthAck,
    KeyAck,
    Block,
    BlockAck,
    RequestLength,
    Request,
    AnswerAck,
}

/// What it does instead of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// It sends a part of it, or nothing, and stays.
    Stall,
    /// The same, and it ends its output.
    Finish,
    /// The same, and it resets the connection.
    Reset,
    /// It refuses the server's step, with this byte.
    Refuse(u8),
    /// It breaks a rule.
    Break,
    /// Its generation is not accepted.
    TooOld,
}

/// The behaviour of one client.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) generation: Generation,
    /// Its first steps do not wait for the server's.
    pub(super) is_eager: bool,
    /// It acknowledges the answer's length before that comes.
    pub(super) acks_early: bool,
    /// It ends its output with that.
    pub(super) finishes_early: bool,
    /// It takes its time for each step in so many cases of a hundred.
    pub(super) dawdles_percent: usize,
    pub(super) fault: Option<(ClientStep, Fault)>,
}

impl ClientStep {
    const ALL: [ClientStep; 9] = [
        ClientStep::KeyLength,
        ClientStep::Key,
        ClientStep::LengthAck,
        ClientStep::KeyAck,
        ClientStep::Block,
        ClientStep::BlockAck,
        ClientStep::RequestLength,
        ClientStep::Request,
        ClientStep::AnswerAck,
    ];

    /// Whether it is one byte that accepts a step of the server.
    pub(super) fn is_acknowledgement(self) -> bool {
        matches!(
            self,
            ClientStep::LengthAck | ClientStep::KeyAck | ClientStep::BlockAck | ClientStep::AnswerAck
        )
    }

    /// The step after it.
    pub(super) fn next(self) -> Option<ClientStep> {
        ClientStep::ALL.into_iter().find(|step| *step > self)
    }
}

impl Script {
    /// Draws the behaviour of a client; the server accepts the first generation or not.
    pub(super) fn draw(accepts_first: bool, random: &mut Random) -> Script {
        let generation = random.pick(&[Generation::First, Generation::Second, Generation::Third]);
        let fault = random.chance(60).then(|| draw_fault(random));
        let is_too_old = generation == Generation::First && !accepts_first;
        let fault = match fault {
            Some((step, _)) if step < ClientStep::Request || !is_too_old => fault,
            _ if is_too_old => Some((ClientStep::Request, Fault::TooOld)),
            none => none,
        };
        let acks_early = random.chance(20) && fault.is_none();
        Script {
            generation,
            is_eager: random.chance(20),
            acks_early,
            finishes_early: acks_early && random.chance(50),
            dawdles_percent: random.pick(&[0, 0, 10, 40]),
            fault,
        }
    }
}

fn draw_fault(random: &mut Random) -> (ClientStep, Fault) {
    let step = random.pick(&ClientStep::ALL);
    let fault = match random.between(0, 9) {
        0..=2 => Fault::Stall,
        3 => Fault::Finish,
        4 => Fault::Reset,
        _ if step.is_acknowledgement() => Fault::Refuse(random.pick(b"0x\0")),
        _ => Fault::Break,
    };
    (step, fault)
}
