//! The dialect `web`: what browsers and monitoring get with GET. A request is a path with a query; an answer is HTML or
//! text. Errors, and points, are written as those of `command`.

mod html;
mod parameters;

use super::command;
use super::page_progress::PageProgress;
use crate::ids::VmId;
use crate::limits;
use crate::model::{
    BadField, Command, CommandName, Dialect, Failure, MetricKey, Page, PointFilter, Query, Request, Scope,
    VmState, VmTable, WebResource,
};
use parameters::Parameters;

/// Reads the request for `resource`; `query` is what follows the `?`. `is_head`: the client wants the head only.
pub fn decode(resource: WebResource, query: &str, is_head: bool) -> Box<Request> {
    let query = Parameters::parse(query).and_then(|parameters| read(resource, &parameters));
    let command = query.map(|query| Command::Web { query, is_head }).map_err(Failure::from);
    let request = Request::new(Dialect::Web, CommandName::Web, command);
    Box::new(Request { scope: Scope::Request, ..request })
}

fn read(resource: WebResource, parameters: &Parameters) -> Result<Query, BadField> {
    Ok(match resource {
        WebResource::VmTable => Query::VmTable(VmTable {
            after: VmId(parameters.integer("after", 0..=i64::MAX)?.unwrap_or(0)),
            filter: parameters.text("filter", limits::VM_NAME_BYTES_MAX)?.to_lowercase().into(),
            state: parameters.one_of("state", VmState::ALL.map(|state| (state.name(), state)))?,
            rows_left: limits::VM_TABLE_ROWS_MAX,
            full_at: None,
        }),
        WebResource::Points => {
            let key = parameters.required("key")?;
            let key = MetricKey::parse(key).map_err(|_| parameters.bad("key", "the key of a series"))?;
            let bound = |name| parameters.integer(name, i64::MIN..=i64::MAX);
            Query::Points(PointFilter { key: Some(key), from: bound("from")?, to: bound("to")? })
        }
    })
}

/// Writes one page of an answer.
pub fn encode_page(page: &Page, progress: &mut PageProgress, output: &mut Vec<u8>) {
    match &page.listing.query {
        Query::VmTable(table) => html::write_page(table, page, progress, output),
        Query::Points(_) => command::encode_page(None, page, progress, output),
        Query::List(_) | Query::Snapshot(_) => debug_assert!(false, "a list is of another dialect"),
    }
}
