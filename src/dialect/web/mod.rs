//! The dialect `web`: what browsers and monitoring get with GET. A request is a path with a query; an answer is HTML or
//! text. Errors, and points, are written as those of `command`.

mod html;
mod metric_table;
mod parameters;
mod prometheus;

use super::command;
use super::page_progress::PageProgress;
use crate::ids::VmId;
use crate::limits;
use crate::model::{
    BadField, Command, CommandName, Dialect, Failure, KeyError, MetricKey, Page, PointFilter, Query, Request,
    Revision, Scope, VmState, VmTable, Watch, WatchFilter, WebResource,
};
use parameters::Parameters;

/// Reads the request for `resource`; `query` is what follows the `?`. `is_head`: the client wants the head only.
pub fn decode(resource: WebResource, query: &str, is_head: bool) -> Box<Request> {
    let name = match resource {
        WebResource::Events => CommandName::Watch,
        _ => CommandName::Web,
    };
    let command = Parameters::parse(query).and_then(|parameters| read(resource, &parameters, is_head));
    let request = Request::new(Dialect::Web, name, command.map_err(Failure::from));
    Box::new(Request { scope: Scope::Request, ..request })
}

fn read(resource: WebResource, parameters: &Parameters, is_head: bool) -> Result<Command, BadField> {
    let query = match resource {
        WebResource::Events => return read_watch(parameters, is_head),
        WebResource::VmTable => Query::VmTable(VmTable {
            after: VmId(parameters.integer("after", 0..=i64::MAX)?.unwrap_or(0)),
            filter: parameters.text("filter", limits::VM_NAME_BYTES_MAX)?.to_lowercase().into(),
            state: parameters.one_of("state", VmState::ALL.map(|state| (state.name(), state)))?,
            rows_left: limits::VM_TABLE_ROWS_MAX,
            full_at: None,
        }),
        WebResource::Metrics => Query::Metrics,
        WebResource::Targets => {
            let port = parameters.integer("port", 1..=u16::MAX.into())?;
            let port = port.and_then(|port| u16::try_from(port).ok());
            Query::Targets { port: port.ok_or_else(|| BadField("missing field: port".into()))? }
        }
        WebResource::Points => {
            let key_in = |name| match parameters.get(name).map(MetricKey::parse) {
                Some(Err(_)) => Err(parameters.bad(name, KeyError::ALLOWED)),
                key => Ok(key.and_then(Result::ok)),
            };
            let (key, prefix) = (key_in("key")?, key_in("prefix")?);
            if key.is_some() == prefix.is_some() {
                return Err(BadField("key, prefix: one of them must be given, and not both".into()));
            }
            let bound = |name| parameters.integer(name, i64::MIN..=i64::MAX);
            Query::Points(PointFilter {
                key,
                prefix,
                from: bound("from")?,
                to: bound("to")?,
                is_latest: false,
            })
        }
    };
    Ok(Command::Web { query, is_head })
}

/// Reads a request for changes. A client that wants the head only gets none.
fn read_watch(parameters: &Parameters, is_head: bool) -> Result<Command, BadField> {
    let from = match parameters.get("from").map(Revision::parse) {
        Some(None) => return Err(parameters.bad("from", Revision::ALLOWED)),
        from => from.flatten().filter(|_| !is_head),
    };
    let filter = match parameters.get("what") {
        None => WatchFilter::new(true, true, Vec::new()),
        Some(text) => command::watch::parse_what(text.split(','))
            .ok_or_else(|| parameters.bad("what", command::watch::ALLOWED_LIST))?,
    };
    let filter = if is_head { WatchFilter::default() } else { filter };
    Ok(Command::Watch(Watch { from, filter }))
}

/// Writes one page of an answer.
pub fn encode_page(page: &Page, progress: &mut PageProgress, output: &mut Vec<u8>) {
    match &page.listing.query {
        Query::VmTable(table) => html::write_page(table, page, progress, output),
        Query::Metrics => prometheus::write_page(page, progress, output),
        Query::Targets { port } => prometheus::write_targets(*port, page, progress, output),
        Query::Points(_) => command::encode_page(None, page, progress, output),
        Query::List(_) | Query::Snapshot(_) => debug_assert!(false, "a list is of another dialect"),
    }
}
