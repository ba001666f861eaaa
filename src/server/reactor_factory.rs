//! Makes the reactors of a server, the first one and one at each restart, and holds what outlasts them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::control::ReactorControl;
use super::hypervisor_stop::HypervisorStop;
use super::reload::{app_settings, pool_settings, reactor_settings};
use super::start_error::StartError;
use crate::app::App;
use crate::app::token::SystemRandom;
use crate::clock::SystemClock;
use crate::config::{Config, ListenerSpec};
use crate::embed::{Embedding, RunningContainer};
use crate::reactor::local::LocalPort;
use crate::reactor::mio_net::MioNet;
use crate::reactor::{self, Reactor};
#[cfg(feature = "sealed")]
use crate::session::SealedListener;
use crate::store::{StoreFactory, WriteHealth};
use crate::worker::{Maintenance, Pool, PoolControl, PoolSettings};

/// The reactor of a server.
pub(super) type ServerReactor = Reactor<MioNet, Pool, SystemClock>;

/// What a server keeps over a restart, besides its listeners and files.
pub(super) struct ReactorFactory {
    /// The settings, as of the last reload.
    pub(super) config: Config,
    /// Every listener, the state directory's last.
    pub(super) listen: Vec<ListenerSpec>,
    /// The keys of those that are sealed.
    #[cfg(feature = "sealed")]
    pub(super) sealed: Option<SealedListener>,
    /// Its clients are those of the current run; the first is 0.
    pub(super) embedding: Embedding,
    /// Threads of the handler lane.
    pub(super) handler_threads: usize,
    pub(super) store: Arc<dyn StoreFactory>,
    pub(super) health: Arc<WriteHealth>,
    pub(super) maintenance: Arc<Maintenance>,
    pub(super) clock: SystemClock,
    pub(super) control: Arc<ReactorControl>,
    /// Where clients of this process connect.
    pub(super) port: Arc<LocalPort>,
    pub(super) watchdog: Option<Watchdog>,
}

/// What is called while the server is healthy, and how often.
pub(super) struct Watchdog {
    interval: Duration,
    beat: Arc<Mutex<dyn FnMut() + Send>>,
}

impl ReactorFactory {
    /// A new reactor for the listeners of `net`, and the control of its queues and workers.
    pub(super) fn make(&self, net: MioNet) -> (ServerReactor, Arc<PoolControl>) {
        let control = Arc::clone(&self.control);
        let store = Arc::clone(&self.store);
        let mut pool = Pool::new(&self.pool_settings(), store, self.clock, Box::new(move || control.wake()));
        pool.show_maintenance(Arc::clone(&self.maintenance));
        let queues = pool.control();
        let (embedding, random) = (self.embedding.clone(), Box::new(SystemRandom));
        let app = App::new(app_settings(&self.config), embedding, random, Arc::clone(&self.health));
        let mut reactor = Reactor::new(net, pool, self.clock, app, self.reactor_settings());
        if let Some(watchdog) = &self.watchdog {
            watchdog.attach(&mut reactor);
        }
        (reactor, queues)
    }

    /// As [`ReactorFactory::make`], for the next run, in which these containers already run: its clients have other ids,
    /// and counters start anew.
    pub(super) fn make_next(
        &mut self,
        net: MioNet,
        running: Vec<RunningContainer>,
    ) -> (ServerReactor, Arc<PoolControl>) {
        self.embedding.running = running;
        self.embedding.clients.run += 1;
        self.embedding.events.reset_counters();
        self.maintenance.reset_statistics();
        self.make(net)
    }

    /// Begins a run of the hypervisor, if there is one; returns the containers that already run.
    pub(super) fn start_hypervisor(&self) -> Result<Vec<RunningContainer>, StartError> {
        let failed = |error| StartError::of_system(format!("the hypervisor can't be started: {error}"));
        self.embedding
            .hypervisor
            .as_ref()
            .map_or(Ok(Vec::new()), |hypervisor| hypervisor.start().map_err(failed))
    }

    /// Begins to end all containers within `time_max`, if there is a hypervisor.
    pub(super) fn stop_hypervisor(&self, time_max: Duration) -> Option<HypervisorStop> {
        let Embedding { hypervisor, server, .. } = &self.embedding;
        let hypervisor = hypervisor.as_ref()?;
        Some(HypervisorStop::begin(hypervisor, *server, &self.store, time_max))
    }

    /// Applies the settings of `config` that can change at run time. The next reactor gets the others, except those of
    /// the listeners and the store.
    pub(super) fn reload(&mut self, config: Config, reactor: &mut ServerReactor, queues: &PoolControl) {
        self.config = config;
        self.maintenance.set_retention(self.config.metrics_retention);
        queues.resize(&self.pool_settings());
        reactor.reload(self.reactor_settings(), app_settings(&self.config));
    }

    pub(super) fn reactor_settings(&self) -> reactor::Settings {
        reactor_settings(
            &self.config,
            &self.listen,
            &self.embedding.handlers.commands,
            #[cfg(feature = "sealed")]
            self.sealed.as_ref(),
        )
    }

    fn pool_settings(&self) -> PoolSettings {
        pool_settings(&self.config, self.store.writers_max(), self.handler_threads)
    }
}

impl Watchdog {
    pub(super) fn new(interval: Duration, beat: impl FnMut() + Send + 'static) -> Watchdog {
        Watchdog { interval, beat: Arc::new(Mutex::new(beat)) }
    }

    /// Has `reactor` call the beat.
    pub(super) fn attach(&self, reactor: &mut ServerReactor) {
        let beat = Arc::clone(&self.beat);
        let call = move || (beat.lock().unwrap_or_else(PoisonError::into_inner))();
        reactor.set_watchdog(self.interval, Box::new(call));
    }
}
