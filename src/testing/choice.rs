//! What a fake client asks that is free to ask anything.

use super::deed::Deed;
use super::ledger::Ledger;
use super::measure::{Measure, Measurer};
use super::request::{Bad, LISTS, What};
use super::world::World;
use crate::limits;

/// Any request that makes sense now.
pub(super) fn choose(by: Measurer, marks: &mut u64, ledger: &Ledger, world: &mut World) -> Option<What> {
    *marks += 1;
    let mark = *marks;
    let World { random, herd, metrics, .. } = world;
    let own: Vec<usize> =
        (0..herd.vms.len()).filter(|vm| herd.vms[*vm].owner == Some(by.asker.client)).collect();
    let token =
        (!herd.tokens.is_empty() && random.chance(15)).then(|| random.between(0, herd.tokens.len() - 1));
    Some(match random.between(0, 32) {
        0..=3 => What::Ping,
        4 | 5 => What::Register { vm: *own.first()? },
        6..=8 if ledger.barriers < ISSUED_MAX => {
            let any = random.between(0, herd.vms.len() - 1);
            let vm = if random.chance(60) { own.first().copied().unwrap_or(any) } else { any };
            What::Authenticate { vm, is_right: random.chance(80) }
        }
        9..=11 => What::List { list: random.pick(&LISTS), token },
        // The model of memory follows updates only where it knows whose they are.
        12..=14 if token.is_some() || ledger.is_login_certain() => {
            What::Update { ram: herd.new_ram(), token }
        }
        15 => What::Logout { token },
        16 => What::Bad(Bad::Field(mark)),
        17 => What::Bad(random.pick(&[Bad::List, Bad::NoFields, Bad::Disk])),
        18 => What::Bad(random.pick(&[Bad::Json, Bad::Array, Bad::Id])),
        19 => What::Bad(random.pick(&[Bad::Command, Bad::Password, Bad::Operators])),
        20..=23 => What::Do(Deed::choose(random, herd)),
        24..=26 => What::Convert { mark },
        27 if random.chance(50) => What::Front,
        27 => What::Health,
        28..=32 => {
            let what = Measure::Any.choose(by, marks, metrics, random);
            token.into_iter().fold(what, What::with_token)
        }
        _ => What::Ping,
    })
}

/// Barriers after which a client logs in no more, so that no token is pushed out by others.
const ISSUED_MAX: usize = limits::TOKENS_PER_CONNECTION_MAX;
