//! All fake clients, and when each acts next.

use std::time::Duration;

use super::client::Client;
use super::environment::Environment;
use super::random::Random;
use super::verification::Verification;
use super::watcher::Watcher;
use vmherd::internals::clock::Instant;

/// The clients, by their numbers.
#[derive(Default)]
pub(super) struct Clients {
    all: Vec<Client>,
    /// Those that watch; their numbers follow.
    watchers: Vec<Watcher>,
    wakes: Vec<Option<Instant>>,
}

impl Clients {
    /// Adds a client that acts at `arrival` for the first time.
    pub(super) fn add(&mut self, client: Client, arrival: Instant) {
        self.all.push(client);
        self.wakes.push(Some(arrival));
    }

    /// Adds clients that watch, after all others.
    pub(super) fn add_watchers(&mut self, count: usize, mut random: Random, start: Instant) {
        for _ in 0..count {
            let number = self.wakes.len();
            self.watchers.push(Watcher::new(number, random.fork(), start));
            self.wakes.push(Some(start));
        }
    }

    /// The client of this number; `None`: it watches.
    pub(super) fn get(&self, number: usize) -> Option<&Client> {
        self.all.get(number)
    }

    /// Lets a client act at `at`, or earlier.
    pub(super) fn wake(&mut self, number: usize, at: Instant) {
        let wake = &mut self.wakes[number];
        *wake = Some(wake.map_or(at, |wake| wake.min(at)));
    }

    /// When the next client acts.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.wakes.iter().flatten().copied().min()
    }

    /// The clients that act by `now`.
    pub(super) fn due(&self, now: Instant) -> Vec<usize> {
        (0..self.wakes.len()).filter(|number| self.wakes[*number].is_some_and(|wake| wake <= now)).collect()
    }

    /// Lets a client act.
    pub(super) fn run(&mut self, number: usize, env: &mut Environment) {
        self.wakes[number] = None;
        let count = self.all.len();
        let (next, is_done) = match self.all.get_mut(number) {
            Some(client) => (client.run(env), &mut client.is_done),
            None => {
                let is_quiet = self.all.iter().all(|client| client.is_done)
                    && !env.network.connections.iter().any(|of| of.client < count && of.is_open_at_server());
                let watcher = &mut self.watchers[number - count];
                (watcher.run(is_quiet, env), &mut watcher.is_done)
            }
        };
        match next {
            Ok(next) => self.wakes[number] = next.map(|next| next.max(env.now + TICK)),
            Err(why) => {
                *is_done = true;
                env.fail(why);
            }
        }
    }

    /// Whether every client is served in time.
    pub(super) fn check_deadlines(&self, env: &Environment) -> Verification {
        self.all.iter().try_for_each(|client| {
            client.check_deadlines(env).map_err(|why| format!("{why}; {}", client.describe()))
        })
    }

    /// Describes a client that was accepted and has not finished.
    pub(super) fn unfinished(&self, env: &Environment) -> Option<String> {
        let is_unfinished = |client: &&Client| {
            let connection = client.connection.map(|connection| &env.network.connections[connection]);
            let was_accepted = connection.is_some_and(|connection| connection.accepted.is_some());
            !client.is_done && (was_accepted || env.shutdown.stopped.is_none())
        };
        let watcher = || self.watchers.iter().find(|watcher| !watcher.is_done).map(Watcher::describe);
        self.all.iter().find(is_unfinished).map(Client::describe).or_else(watcher)
    }
}

/// No client runs twice at the same time.
const TICK: Duration = Duration::from_micros(1);
