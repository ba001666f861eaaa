//! Domain types: VMs, principals, requests and answers.
//!
//! Plain data and its validation. No wire formats, no sockets, no SQL.

mod access_token;
mod address_rule;
pub mod anonymous_access;
pub mod answer;
pub mod command;
mod command_table;
mod container;
mod custom;
mod denial;
mod dialect;
mod failure;
mod logged_address;
mod membership;
pub mod name;
pub mod peer;
pub mod principal;
pub mod request;
mod response;
pub mod secret;
pub mod series;
pub mod verb;
pub mod verbs;
mod vm;
mod watch;
mod web;

pub use access_token::{AccessToken, AccessTokenChange, Reader};
pub use address_rule::{AddressLists, AddressRule};
pub use anonymous_access::{AccessGroup, AnonymousAccess};
pub use answer::{
    ActionAnswer, Answer, Cursor, Items, Metrics, Page, PeerEntry, PointPosition, ServerStatus, Statistics,
    VmPresence,
};
pub use command::{BadField, Caller, Command, List, Listing, Put, Query, VmOperation};
pub use command_table::{Access, CommandName};
pub use container::{Container, ContainerCredentials, HypervisorError, NewContainer};
pub use custom::{CustomCommands, CustomKind};
pub use denial::Denial;
pub use dialect::Dialect;
pub use failure::Failure;
pub use logged_address::{AddressFormat, LogAddresses, LoggedPeer};
pub use membership::Membership;
pub use name::{NameError, VmName};
pub use peer::{Peer, PeerIp, Source};
pub use principal::{Credentials, Login, Principal, TokenOwner};
pub use request::{Refusal, Request, RequestId, Scope, VmField};
pub use response::Response;
pub use secret::{LongMessage, LongText, Secret, TokenHash};
pub use series::{KeyError, MetricKey, MetricValue, NewPoint, Point, PointFilter, Series};
pub use verb::{Verb, VerbPath};
pub use vm::{Disk, DiskChange, DiskOfVm, Management, NewVm, SeenVm, Vm, VmChange, VmShape};
pub use watch::{Change, ChangeGroup, OfflineReason, Revision, TAKEN_OVER, VmChangeKind, Watch, WatchFilter};
#[cfg_attr(not(feature = "page"), allow(unused_imports))]
pub use web::{VmState, VmTable, WebResource};
