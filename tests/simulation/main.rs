//! A simulated world for the reactor: network, workers, clocks, random numbers and clients, behind the seams
//! where production has the system.
//!
//! The seed decides everything that happens in a world, so a failure is reproduced by its seed. See
//! [`seeds`].

mod action_requests;
mod client;
mod client_codec;
#[path = "../common/codec.rs"]
mod codec;
#[path = "../common/codec_tests.rs"]
mod codec_tests;
mod connection;
mod expectations;
mod fake_workers;
mod fault_config;
mod faulty_store;
mod maintenance;
mod metric_requests;
mod net;
mod oracle;
mod plan;
mod point_model;
mod point_plan;
#[cfg(all(feature = "http", feature = "websocket"))]
mod properties;
mod random;
mod random_request;
mod reference_model;
mod request;
mod response;
mod seeds;
mod trace;
mod wall_clock;
mod world;
