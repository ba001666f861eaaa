//! Blocking work for worker threads: values that describe it, and the code that runs it.
//!
//! Work refers to no connection and no request; the app keeps the stage that continues with the result.

mod at_once;
pub mod pages;
pub mod password;
mod reads;
pub mod stored_costs;

use std::sync::Arc;

use crate::clock::UnixSeconds;
#[cfg(feature = "sealed")]
use crate::crypto::{Exchanged, KeyExchange};
use crate::dialect;
use crate::embed::{ContainerReport, GateCall, HandlerCall, HandlerFailure, HypervisorCall};
use crate::ids::{ServerId, VmId};
use crate::limits;
use crate::model::{
    Credentials, CustomCommands, Login, LongMessage, Refusal, Request, Response, Secret, TokenHash,
    TokenOwner, Vm, VmName,
};
use crate::store::{ChangesPage, ChangesPosition, Store, StoreError, StoreFactory, Write, Written};
use pages::{PageRead, PageRequest};
use password::{Hasher, PasswordCheck};
use stored_costs::StoredCosts;

/// A queue and its threads. The work of one lane does not delay another lane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lane {
    /// Hashing: CPU and memory.
    Auth,
    /// Decoding and converting texts that are too long for the reactor: CPU.
    Compute,
    /// Key exchanges of sealed connections: CPU.
    #[cfg(feature = "sealed")]
    Keys,
    /// Reads of the store.
    Read,
    /// Writes to the store. Queued writes share a commit.
    Write,
    /// Handlers and the hypervisor of the embedding program.
    Handler,
    /// The gate of the embedding program.
    Gate,
}

/// Blocking work, by lane.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Work {
    Hash(Hash),
    Compute(Compute),
    #[cfg(feature = "sealed")]
    Exchange(KeyExchange),
    Read(Read),
    Write(Write),
    Handle(HandlerCall),
    Admit(GateCall),
    Container(HypervisorCall),
}

/// Work with a password.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Hash {
    New { password: Secret },
    Verify { password: Secret, stored: Option<String> },
}

/// Work with a long text.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Compute {
    Decode { message: LongMessage, customs: Arc<CustomCommands> },
    Convert { data: Box<str> },
}

/// A read of the store.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Read {
    Ping,
    FindToken {
        token: TokenHash,
        current: Option<Login>,
        now: UnixSeconds,
    },
    FindAccessToken {
        token: TokenHash,
    },
    FindCredentials {
        name: VmName,
    },
    FindCredentialsById {
        vm: VmId,
    },
    ListPage {
        requester: Requester,
        page: PageRequest,
    },
    /// The VMs with these ids that exist.
    Vms {
        ids: Vec<VmId>,
    },
    /// Changes by other processes, at most [`limits::CHANGES_READ_MAX`]; `None`: where the store is now.
    Changes {
        after: Option<ChangesPosition>,
    },
    /// The VMs that `server` manages, at most [`limits::MANAGED_VMS_READ_MAX`].
    ManagedVms {
        server: ServerId,
    },
}

/// The client that requests a list.
#[derive(Clone, Debug)]
pub enum Requester {
    /// A VM: the page requires that its login is valid.
    Vm(Login),
    /// Any client; a login, if there is one, is checked, and the result reported.
    AnyClient(Option<Login>),
}

/// The result of work.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum WorkResult {
    /// The store can be read.
    Pinged,
    /// The token's owner, and whether the current login is still valid.
    Token {
        owner: Option<TokenOwner>,
        current_holds: bool,
    },
    /// Whether the access token is valid.
    AccessToken(bool),
    Credentials(Option<Box<Credentials>>),
    Hashed(String),
    Verified(PasswordCheck),
    /// The page, and whether the client's login, if any, is still valid.
    Page {
        page: PageRead,
        login_holds: bool,
    },
    ManagedVms(Vec<VmName>),
    Vms(Vec<Vm>),
    Changes(Box<ChangesPage>),
    /// A decoded long message.
    Decoded(Result<Box<Request>, Refusal>),
    /// The keys of a connection; `None` if the client's block is not valid.
    #[cfg(feature = "sealed")]
    Exchanged(Option<Exchanged>),
    /// The entities of a text, as a JSON object.
    Converted(String),
    Written(Written),
    /// A handler's answer.
    Handled(Response),
    /// Whether the gate admits the client.
    Admission(bool),
    /// Progress of a container, or the result of its creation or destruction.
    Container(Box<ContainerReport>),
}

/// The result belongs to other work.
#[derive(Debug)]
pub struct WrongResult;

/// Why work failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WorkError {
    /// The store's error.
    Store(StoreError),
    /// The queue was full, and other clients had less work in it. Nothing was done.
    NoRoom,
    /// The handler has given no answer.
    Handler(HandlerFailure),
    /// An internal error, already logged.
    Internal,
}

/// The state of one worker thread.
pub struct WorkerContext {
    factory: Arc<dyn StoreFactory>,
    store: Option<Box<dyn Store>>,
    hasher: Hasher,
}

impl Requester {
    /// The login to check.
    pub fn login(&self) -> Option<&Login> {
        match self {
            Requester::Vm(login) | Requester::AnyClient(Some(login)) => Some(login),
            Requester::AnyClient(None) => None,
        }
    }
}

impl Lane {
    /// All lanes.
    pub const ALL: [Lane; 6 + cfg!(feature = "sealed") as usize] = [
        Lane::Auth,
        Lane::Compute,
        #[cfg(feature = "sealed")]
        Lane::Keys,
        Lane::Read,
        Lane::Write,
        Lane::Handler,
        Lane::Gate,
    ];
}

impl Lane {
    /// Whether its work needs the store.
    pub fn uses_store(self) -> bool {
        matches!(self, Lane::Read | Lane::Write)
    }

    /// Whether its work is for the processor alone, and so always ends.
    pub fn is_computing(self) -> bool {
        match self {
            Lane::Auth | Lane::Compute => true,
            #[cfg(feature = "sealed")]
            Lane::Keys => true,
            _ => false,
        }
    }
}

impl Work {
    /// The lane that runs it.
    pub fn lane(&self) -> Lane {
        match self {
            Work::Hash(_) => Lane::Auth,
            Work::Compute(_) => Lane::Compute,
            #[cfg(feature = "sealed")]
            Work::Exchange(_) => Lane::Keys,
            Work::Read(_) => Lane::Read,
            Work::Write(_) => Lane::Write,
            Work::Handle(_) | Work::Container(_) => Lane::Handler,
            Work::Admit(_) => Lane::Gate,
        }
    }

    /// Its share of a batch's time and of the queue, in stored points.
    pub fn weight(&self) -> usize {
        1 + match self {
            Work::Write(write) => write.rows() + write.bytes() / limits::BYTES_PER_WEIGHT_UNIT,
            Work::Compute(Compute::Decode { message, .. }) => {
                message.text.as_slice().len() / limits::BYTES_PER_WEIGHT_UNIT
            }
            Work::Compute(Compute::Convert { data }) => data.len() / limits::BYTES_PER_WEIGHT_UNIT,
            Work::Handle(call) => call.bytes() / limits::BYTES_PER_WEIGHT_UNIT,
            _ => 0,
        }
    }

    /// Whether it makes a page of a list.
    pub fn is_page(&self) -> bool {
        matches!(self, Work::Read(Read::ListPage { .. }))
    }
}

/// Defines accessors: each returns the result of one kind of work, or [`WrongResult`].
macro_rules! accessors {
    ($($(#[$doc:meta])* $name:ident -> $type:ty: $pattern:pat => $value:expr;)*) => {
        #[allow(missing_docs)]
        impl WorkResult {
            $($(#[$doc])*
            pub fn $name(self) -> Result<$type, WrongResult> {
                match self {
                    $pattern => Ok($value),
                    _ => Err(WrongResult),
                }
            })*
        }
    };
}

accessors! {
    /// The token's owner, and whether the current login is still valid.
    token -> (Option<TokenOwner>, bool): WorkResult::Token { owner, current_holds } => (owner, current_holds);
    /// Whether the access token is valid.
    access_token -> bool: WorkResult::AccessToken(is_valid) => is_valid;
    changes -> ChangesPage: WorkResult::Changes(page) => *page;
    pinged -> (): WorkResult::Pinged => ();
    credentials -> Option<Credentials>: WorkResult::Credentials(credentials) => credentials.map(|credentials| *credentials);
    hashed -> String: WorkResult::Hashed(hash) => hash;
    verified -> PasswordCheck: WorkResult::Verified(check) => check;
    /// The page, and whether the client's login is still valid.
    page -> (PageRead, bool): WorkResult::Page { page, login_holds } => (page, login_holds);
    converted -> String: WorkResult::Converted(entities) => entities;
    written -> Written: WorkResult::Written(written) => written;
    handled -> Response: WorkResult::Handled(response) => response;
    container -> ContainerReport: WorkResult::Container(report) => *report;
}

impl WorkerContext {
    /// A context that connects to the store on first use.
    pub fn new(factory: Arc<dyn StoreFactory>, costs: Arc<StoredCosts>) -> WorkerContext {
        WorkerContext { factory, store: None, hasher: Hasher::sharing(costs) }
    }

    /// Runs `batch`, all of one lane; returns the results in order. Writes share a commit; reads share a snapshot.
    pub fn run<'w>(
        &mut self,
        batch: impl IntoIterator<Item = &'w Work>,
    ) -> Vec<Result<WorkResult, WorkError>> {
        let (mut results, mut reads, mut writes) = (Vec::new(), Vec::new(), Vec::new());
        for work in batch {
            match work {
                Work::Hash(work) => results.push(self.hash(work)),
                Work::Compute(work) => results.push(Ok(compute(work))),
                #[cfg(feature = "sealed")]
                Work::Exchange(exchange) => results.push(Ok(WorkResult::Exchanged(exchange.run()))),
                Work::Read(read) => reads.push(read),
                Work::Write(write) => writes.push(write),
                Work::Admit(call) => results.push(Ok(WorkResult::Admission(call.run()))),
                // They need a responder, and the pool calls them.
                Work::Handle(_) | Work::Container(_) => results.push(Err(WorkError::Internal)),
            }
        }
        let costs = Arc::clone(self.hasher.costs());
        self.run_on_store(
            &reads,
            &mut results,
            |store| reads::read_all(store, &reads, &costs),
            |result| result,
        );
        self.run_on_store(&writes, &mut results, |store| store.write(&writes), WorkResult::Written);
        results
    }

    /// Drops the store connection, whose state after a panic is unknown.
    pub fn forget_store(&mut self) {
        self.store = None;
    }

    /// Appends the results of `work` on the store, which `run` returns. Without a connection, each is the error to
    /// connect.
    fn run_on_store<T, R>(
        &mut self,
        work: &[&T],
        results: &mut Vec<Result<WorkResult, WorkError>>,
        run: impl FnOnce(&mut dyn Store) -> Vec<Result<R, StoreError>>,
        wrap: impl Fn(R) -> WorkResult,
    ) {
        if work.is_empty() {
            return;
        }
        let wrapped = |result: Result<R, StoreError>| result.map(&wrap).map_err(WorkError::Store);
        match self.store() {
            Ok(store) => results.extend(run(store).into_iter().map(wrapped)),
            Err(error) => results.extend(work.iter().map(|_| Err(WorkError::Store(error.clone())))),
        }
    }

    fn hash(&mut self, work: &Hash) -> Result<WorkResult, WorkError> {
        let result = match work {
            Hash::New { password } => self.hasher.hash(password).map(WorkResult::Hashed),
            Hash::Verify { password, stored } => {
                self.hasher.verify(password, stored.as_deref()).map(WorkResult::Verified)
            }
        };
        result.map_err(|error| {
            log::error!("hashing a password failed: {}", error.0);
            WorkError::Internal
        })
    }

    fn store(&mut self) -> Result<&mut dyn Store, StoreError> {
        if self.store.is_none() {
            self.store = Some(self.factory.connect_worker()?);
        }
        Ok(self.store.as_deref_mut().expect("connected above"))
    }
}

fn compute(work: &Compute) -> WorkResult {
    match work {
        Compute::Decode { message: LongMessage { text, path }, customs } => {
            WorkResult::Decoded(dialect::decode_message(text.as_slice(), *path, customs))
        }
        Compute::Convert { data } => WorkResult::Converted(dialect::convert(data)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DiskChange, LongText, MetricKey, MetricValue, NewPoint, Point, VmChange, VmShape};

    fn put(key: &str, count: i64) -> Work {
        let value = MetricValue::new(1.0).expect("it is finite");
        let point = |timestamp| Point { timestamp, value };
        let points =
            (0..count).map(|second| NewPoint { key: MetricKey::from_store(key), point: point(second) });
        let points = Arc::new(points.collect());
        Work::Write(Write::Put { login: None, points, keys_max: Write::KEYS_UNBOUNDED, is_atomic: false })
    }

    #[test]
    fn points_disks_and_bytes_have_weight() {
        let shape = VmShape { ram_mib: 1, cpus: 1 };
        let add = |disks: usize| {
            let (disk_sizes_gib, now) = (vec![1; disks], UnixSeconds(0));
            Work::Write(Write::AddVm { shape, disk_sizes_gib, vms_max: 1, now })
        };
        let resize = |disks: usize| {
            let login = Login { id: VmId(1), epoch: 0, name: VmName::from_store("vm") };
            let disks = Some(DiskChange::Replace(vec![1; disks]));
            Work::Write(Write::Update {
                login,
                token: None,
                change: VmChange { disks, ..VmChange::default() },
            })
        };
        let decode = |bytes: usize| {
            let message = LongMessage { text: LongText::new(&vec![b' '; bytes]), path: None };
            Work::Compute(Compute::Decode { message, customs: Arc::default() })
        };
        let convert = |bytes: usize| Work::Compute(Compute::Convert { data: "x".repeat(bytes).into() });
        let unit = limits::BYTES_PER_WEIGHT_UNIT;
        for (name, work, weight) in [
            ("a point", put("k", 1), 2),
            ("points", put("k", 255), 256),
            ("long keys", put(&"k".repeat(200), 256), 1 + 256 + 256 * 200 / unit),
            ("a disk", add(1), 2),
            ("disks", add(1024), 1025),
            ("new sizes of disks", resize(1024), 1025),
            ("a message", decode(unit - 1), 1),
            ("a long message", decode(limits::REQUEST_BYTES_MAX), 1 + limits::REQUEST_BYTES_MAX / unit),
            ("a long text", convert(10 * unit), 11),
            ("a look-up", Work::Read(Read::Ping), 1),
        ] {
            assert_eq!(work.weight(), weight, "{name}");
        }
    }
}
