//! Requests and replies of the dialect.

mod requests;
mod responses;
