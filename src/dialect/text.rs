//! The dialect of metrics text: `put KEY VALUE TIMESTAMP`, `get KEY` or `get *`. Replies start with `ok` or `error` and
//! end with a blank line.

mod text_request;
mod text_response;

pub use text_request::{TextCommand, decode_line, get_request, put_request};
pub(super) use text_response::{encode_answer, encode_page};
