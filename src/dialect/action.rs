//! The dialect `action`: `{"action": NAME, …}`, and its replies, an object of their own for each action or
//! `{"error": …}`.

mod decode;
mod encode;

pub(super) use decode::decode;
pub(super) use encode::{encode_answer, encode_page};
