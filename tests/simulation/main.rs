//! A simulated world for the reactor: network, workers, clocks, random numbers and clients, where production has the
//! operating system.
//!
//! The seed decides everything that happens in a world, so a failure is reproduced by its seed. See [`seeds`].
//!
//! From the bottom up: the `network`, the `fake_workers` and the models are parts of the `environment`, in which
//! `clients` follow their `plan` and check replies with the `oracle`; the `world` lets them act, and `net` and
//! `fake_jobs` show it to the reactor.

mod action_oracle;
mod action_requests;
mod auth_after;
mod bad_requests;
mod client;
mod client_checks;
mod client_codec;
mod clients;
#[path = "../common/codec.rs"]
mod codec;
#[path = "../common/codec_tests.rs"]
mod codec_tests;
mod connection;
mod container_model;
mod container_oracle;
mod custom_oracle;
mod delays;
mod delivery;
mod environment;
mod exchange;
mod expectations;
mod fairness;
mod fake_handlers;
mod fake_hypervisor;
mod fake_jobs;
#[cfg(feature = "sealed")]
mod fake_keys;
mod fake_runs;
mod fake_tasks;
mod fake_workers;
mod fault_config;
mod faulty_store;
mod final_store;
mod framing;
mod handler_calls;
mod holdings;
mod maintenance;
mod managed_vms;
mod metric_requests;
mod net;
mod network;
mod oracle;
mod plan;
mod point_model;
mod point_oracle;
mod point_plan;
#[cfg(all(feature = "http", feature = "websocket"))]
mod properties;
mod ram_history;
mod random;
mod random_request;
mod reference_model;
mod reply_context;
mod request;
#[cfg(all(feature = "http", feature = "websocket"))]
mod request_texts;
mod response;
#[cfg(feature = "sealed")]
mod sealed_client;
#[cfg(feature = "sealed")]
mod sealed_exchange;
#[cfg(feature = "sealed")]
mod sealed_messages;
#[cfg(feature = "sealed")]
mod sealed_script;
mod seeds;
mod server_settings;
mod steps;
mod trace;
mod verb_requests;
mod verification;
mod wall_clock;
mod watch_oracle;
mod watcher;
mod world;
