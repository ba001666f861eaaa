//! Requests and replies of the dialect.

mod requests;
mod responses;

use crate::dialect::decode_json;
use crate::model::{BadField, CustomCommands, Failure, Refusal, Request};

fn decode(text: &str) -> Result<Request, Refusal> {
    decode_json(text.as_bytes(), &CustomCommands::default()).map(|request| *request)
}

/// The request of `name` with `data`.
pub(super) fn request(name: &str, data: &str) -> Request {
    decode(&format!("{{\"command\": \"{name}\", \"data\": {data}}}")).expect(data)
}

/// The error in the data.
pub(super) fn data_error(name: &str, data: &str) -> String {
    match request(name, data).command {
        Err(Failure::BadField(BadField(text))) => text,
        other => panic!("{name} {data}: {other:?}"),
    }
}
