//! What an embedding program gives to a server, and what it receives from it: handlers of requests, and clients.

mod client;
mod handler;

pub use client::{Client, ClientFactory, ClientId, Disconnector};
pub use handler::{HandlerCall, HandlerFailure, HandlerRequest, Handlers, RequestHandler, Responder};
