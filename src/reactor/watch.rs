//! Changes for clients that watch: at the end of a tick each gets what it is due, in one write.

use super::connection::Flushed;
use super::net::Net;
use super::{Now, Reactor};
use crate::clock::Clock;
use crate::dispatch::watch::{Left, Share};
use crate::ids::ConnId;
use crate::limits;
use crate::worker::Jobs;

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// Writes and sends changes, within the limits of a tick. Clients that get none are first in the next.
    pub(super) fn deliver_changes(&mut self, now: Now) {
        let mut share =
            Share { bytes: limits::WATCH_BYTES_PER_TICK_MAX, searches: limits::WATCH_SEARCHES_PER_TICK_MAX };
        for _ in 0..limits::WATCHERS_PER_TICK_MAX {
            if share.bytes == 0 || share.searches == 0 {
                break;
            }
            let Some(id) = self.dispatcher.next_watch() else { break };
            let Some(connection) = self.connections.get_mut(id) else { continue };
            let before = connection.output.len();
            let left = self.dispatcher.write_changes(&mut share, &mut connection.client(id, now));
            if left == Left::Later {
                self.dispatcher.touch_watch(id);
            }
            if connection.output.len() == before {
                continue;
            }
            let flushed = connection.flush(&mut self.net, now.instant);
            let is_over = !connection.session.is_watching();
            match flushed {
                Flushed::Broken => self.close(id),
                Flushed::All if left == Left::Some => self.dispatcher.touch_watch(id),
                // It gets more when its socket has taken this.
                Flushed::All | Flushed::Some => {}
            }
            self.update_charge(id);
            self.arm(id);
            if is_over {
                self.enqueue(id);
            }
        }
    }

    /// Closes the connections that are open at the end of the grace period; clients that watch last, with what they take of
    /// their changes.
    pub(super) fn close_last(&mut self, ids: Vec<ConnId>, now: Now) {
        let (watching, others): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| self.is_watching(*id));
        others.into_iter().for_each(|id| self.close(id));
        self.dispatcher.publish_changes(now);
        self.deliver_changes(now);
        watching.into_iter().for_each(|id| self.close(id));
    }

    pub(super) fn is_watching(&self, id: ConnId) -> bool {
        self.connections.get(id).is_some_and(|connection| connection.session.is_watching())
    }

    /// While the server stops: ends the watches whose clients have got all changes, once no other connection is open.
    pub(super) fn end_watches(&mut self) {
        let ids = self.connections.ids();
        if !ids.iter().all(|id| self.is_watching(*id)) {
            return;
        }
        for id in ids {
            let has_all = self.dispatcher.has_all_changes(id);
            if let Some(connection) = self.connections.get_mut(id).filter(|_| has_all) {
                connection.session.end_watch();
                self.enqueue(id);
            }
        }
    }
}
