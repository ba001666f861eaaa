//! Bounds on what the reactor holds for each connection, and for all.

use super::environment::Environment;
use super::verification::Verification;
use vmherd::internals::limits;
use vmherd::internals::reactor::inspect::{ConnectionHoldings, Holdings};

/// The bounds on what each connection holds.
pub(super) fn check(
    held_by_each: &[ConnectionHoldings],
    holdings: Holdings,
    env: &Environment,
) -> Verification {
    let mut delayed = (0, 0);
    let (mut charged, mut held_by_all, mut has_stranger) = (0, 0, false);
    for held in held_by_each {
        let connection = env.network.open_connection(held.id).ok_or("a connection without a client")?;
        let may_authenticate =
            env.knowledge.model.vms.iter().any(|vm| vm.authenticated_clients.contains(&connection.client));
        let request_max =
            if may_authenticate { limits::REQUEST_BYTES_MAX } else { env.config.anonymous_bytes_max };
        let with_id = env.config.named_max.min(NAMED_OPEN_MAX);
        let of_handlers = env.workers.handlers.answered_bytes(connection.port);
        let output_max =
            limits::OUTPUT_BYTES_PAUSE + PAGE_BYTES_MAX + with_id * REPLY_BYTES_MAX + of_handlers;
        // A line of text may be longer than an anonymous request in some worlds.
        let request_max = request_max.max(limits::TEXT_LINE_BYTES_MAX);
        if held.input > request_max + limits::READ_CHUNK_BYTES {
            return Err(format!("too much input is held: {held:?}"));
        }
        if held.output > output_max {
            return Err(format!("too much output is held: {held:?}"));
        }
        if held.idle_capacity > 0 {
            return Err(format!("an empty buffer holds memory: {held:?}"));
        }
        if held.queued != usize::from(held.is_queued) {
            return Err(format!("queued wrongly: {held:?}"));
        }
        delayed = (delayed.0 + held.delayed.0, delayed.1 + held.delayed.1);
        if held.held != held.charged && !held.is_queued {
            return Err(format!("charged for other bytes than it holds: {held:?}"));
        }
        has_stranger |= !held.is_known && held.charged >= limits::HOLDING_BYTES_MIN;
        (charged, held_by_all) = (charged + held.charged, held_by_all + held.held);
    }
    if holdings.buffers != charged {
        return Err(format!("{charged} bytes are charged, and {} counted", holdings.buffers));
    }
    let most = env.config.buffers_bytes_max + if has_stranger { 0 } else { limits::BUFFERS_OVERCOMMIT_BYTES };
    if held_by_all > most + PAGE_BYTES_MAX {
        return Err(format!("{held_by_all} bytes are held for all, {charged} are charged"));
    }
    if holdings.delayed.1 > env.config.bounds.delayed_bytes {
        return Err(format!("{:?} wait to be answered", holdings.delayed));
    }
    match holdings.delayed {
        counted if counted == delayed => Ok(()),
        counted => Err(format!("{counted:?} are counted as delayed, and {delayed:?} are")),
    }
}

/// A page of the longest rows, and a VM with all the disks that it may have.
const PAGE_BYTES_MAX: usize = 160 << 10;
/// The longest reply that is no page.
const REPLY_BYTES_MAX: usize = 512;
/// No client has more requests with an id open.
const NAMED_OPEN_MAX: usize = 2000;
