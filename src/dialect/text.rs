//! The dialect of metrics text: `put KEY VALUE TIMESTAMP`, `get KEY` or `get *`, and the replies `ok` and `error`,
//! each of which ends with a blank line.

mod text_request;
mod text_response;

pub use text_request::{TextCommand, decode_line, get_request, put_request};
pub(super) use text_response::{encode_answer, encode_page};
