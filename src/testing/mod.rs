//! A simulated world for the reactor: network, workers, clocks, random numbers and clients behind the
//! seams that production has the system behind. For tests only.
//!
//! One number decides everything that happens in a world, so that whatever goes wrong in one goes wrong
//! again when it is asked for by its number. See [`simulation`] for how.

mod choice;
mod client;
mod deed;
mod herd;
mod jobs;
mod judge;
mod keeper;
mod ledger;
mod measure;
mod metrics;
mod metrics_plan;
mod net;
mod plan;
#[cfg(all(feature = "http", feature = "websocket"))]
mod properties;
mod random;
mod reply;
mod request;
mod simulation;
mod speech;
mod trace;
mod unreliable;
mod wall_clock;
mod weather;
mod wire;
mod world;
