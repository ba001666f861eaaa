//! The dialect `action`: `{"action": NAME, …}`, and its replies, an object of their own for each action or
//! `{"error": …}`.

mod action_request;
mod action_response;

pub(super) use action_request::decode;
pub(super) use action_response::{encode_answer, encode_page};
