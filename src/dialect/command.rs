//! The dialect `command`: `{"command": NAME, "data": {…}}` and its replies
//! `{"status": …, "message": …, "data": {…}}`.

mod command_request;
mod command_response;
mod points;

pub(super) use command_request::decode;
pub(super) use command_response::{encode_answer, encode_page};

use crate::model::List;

/// The lists and their names.
const LISTS: [(&str, List); 4] = [
    ("active_vms", List::ActiveVms),
    ("authenticated_vms", List::AuthenticatedVms),
    ("all_vms", List::AllVms),
    ("all_disks", List::AllDisks),
];
