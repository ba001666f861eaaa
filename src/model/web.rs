//! What browsers and monitoring get with GET.

use crate::ids::VmId;

/// A path whose answer the store takes part in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WebResource {
    /// `/ui/vms`: the VMs as HTML.
    VmTable,
    /// `/ui/points`: points as JSON.
    Points,
    /// `/metrics`: the server's own metrics, for Prometheus.
    Metrics,
    /// `/sd/prometheus`: the VMs as targets of Prometheus.
    Targets,
    /// `/events/stream`: changes as server-sent events.
    Events,
}

/// Whether a VM has an authenticated connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum VmState {
    Online,
    Offline,
}

/// A part of the table of VMs, as one page of HTML.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmTable {
    /// It begins after this VM.
    pub after: VmId,
    /// Only VMs whose names contain this text, in any case; empty: all.
    pub filter: Box<str>,
    /// Only VMs in this state.
    pub state: Option<VmState>,
    /// The rows that still fit.
    pub rows_left: usize,
    /// The last VM of a table that is full; more may follow.
    pub full_at: Option<VmId>,
}

impl WebResource {
    /// What is at `path`.
    pub fn of_path(path: &str) -> Option<WebResource> {
        match path {
            "/ui/vms" => Some(WebResource::VmTable),
            "/ui/points" => Some(WebResource::Points),
            "/metrics" => Some(WebResource::Metrics),
            "/sd/prometheus" => Some(WebResource::Targets),
            "/events/stream" => Some(WebResource::Events),
            _ => None,
        }
    }
}

impl VmState {
    /// Both.
    pub const ALL: [VmState; 2] = [VmState::Online, VmState::Offline];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            VmState::Online => "online",
            VmState::Offline => "offline",
        }
    }
}
