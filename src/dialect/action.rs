//! The dialect `action`: requests `{"action": NAME, …}`; the reply is an object that depends on the action, or
//! `{"error": …}`.

mod action_request;
mod action_response;

pub(super) use action_request::decode;
pub(super) use action_response::{encode_answer, encode_page};
