//! The dialect of metrics text: `put KEY VALUE TIMESTAMP`, `get KEY` or `get *`, and the replies `ok` and `error`,
//! each of which ends with a blank line.

mod decode;
mod encode;

pub use decode::{Line, decode, get, put};
pub(super) use encode::{encode_answer, encode_page};
