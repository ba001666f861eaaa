//! The results of workers: they are passed on to the requests that wait for them, and have effects on other connections.

use super::Reactor;
use super::connection::Phase;
use super::net::Net;
use crate::clock::Clock;
use crate::dispatch::{Client, Dispatcher, Effect, Now};
use crate::ids::ConnId;
use crate::worker::{Completion, Jobs};

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// Processes the results of workers, up to the limit of a tick. The clients that the embedding program wants to close
    /// end after the answers that came before.
    pub(super) fn collect_completions(&mut self, now: Now) {
        let mut bytes = 0;
        loop {
            // Those that came after the ones kept from an earlier tick follow in this one: their wake-up is gone.
            let are_new = self.completions.is_empty();
            if are_new {
                self.take_completions();
            }
            while bytes < self.settings.bounds.bytes_per_tick
                && let Some(completion) = self.completions.pop_front()
            {
                bytes += self.complete(completion, now);
            }
            if !self.completions.is_empty() {
                return;
            }
            self.disconnect();
            if are_new {
                return;
            }
        }
    }

    /// Passes on the result of a worker; returns how many bytes that adds to the output of a connection.
    fn complete(&mut self, completion: Completion, now: Now) -> usize {
        let id = completion.key.request_key.conn;
        let mut added = 0;
        match self.connections.get_mut(id) {
            Some(connection) => {
                let before = connection.output.len();
                self.dispatcher.resume(completion, &mut connection.client(id, now));
                added = connection.output.len().saturating_sub(before);
                self.enqueue(id);
            }
            None => self.dispatcher.settle(completion, now),
        }
        self.apply_effects(now);
        added
    }

    /// Takes the clients to close and the results, in this order: an answer that came before a close is among them.
    fn take_completions(&mut self) {
        self.leaving.extend(self.dispatcher.take_disconnected());
        self.dispatcher.drain(&mut self.completions);
    }

    /// Applies the effects that requests have had on other connections.
    pub(super) fn apply_effects(&mut self, now: Now) {
        for effect in self.dispatcher.take_effects() {
            match effect {
                Effect::WithdrawCheck(key) => {
                    self.with_client(key.conn, now, |dispatcher, client| dispatcher.withdraw(key, client));
                }
                Effect::RefuseLogin(key) => {
                    self.with_client(key.conn, now, |dispatcher, client| {
                        dispatcher.refuse_login(key, client)
                    });
                }
                Effect::Admit(id) => {
                    if let Some(connection) = self.connections.get_mut(id) {
                        connection.phase = Phase::Open;
                        self.enqueue(id);
                    }
                }
                Effect::Deny(id) => self.close(id),
                Effect::EndSession(id, end) => {
                    self.with_client(id, now, |dispatcher, client| dispatcher.end_session(end, client));
                }
            }
        }
    }

    /// Calls `act` for a connection, if it is open, and queues it to run.
    pub(super) fn with_client(
        &mut self,
        id: ConnId,
        now: Now,
        act: impl FnOnce(&mut Dispatcher<J>, &mut Client<'_>),
    ) {
        if let Some(connection) = self.connections.get_mut(id) {
            act(&mut self.dispatcher, &mut connection.client(id, now));
            self.enqueue(id);
        }
    }
}
