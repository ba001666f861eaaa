//! Stores with VMs in them.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use vmherd::internals::clock::{UnixSeconds, unix_now};
use vmherd::internals::ids::VmId;
use vmherd::internals::limits;
use vmherd::internals::model::{
    Login, MetricKey, MetricValue, NewPoint, NewVm, Point, Secret, VmName, VmShape,
};
use vmherd::internals::store::{self, Location, Store, Write};

use crate::points::{key, value_at};
use crate::process::Folder;

/// A store with VMs in it, one of which has a token.
pub struct SeededStore {
    /// The value of `--store`.
    pub location: String,
    pub vms: usize,
    /// The folder of its file, if it has one.
    folder: Option<Folder>,
}

/// The token of a store's first VM.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

impl SeededStore {
    /// So many VMs with so many disks each, in a SQLite file.
    pub fn new(vms: usize, disks: usize) -> SeededStore {
        let folder = Folder::new_data();
        let location = format!("sqlite:{}", folder.path().join(FILE).display());
        SeededStore::seeded(SeededStore { location, vms, folder: Some(folder) }, disks)
    }

    /// The same in the database at `url`, which is empty.
    pub fn in_postgres(url: String, vms: usize, disks: usize) -> SeededStore {
        SeededStore::seeded(SeededStore { location: url, vms, folder: None }, disks)
    }

    fn seeded(seeded: SeededStore, disks: usize) -> SeededStore {
        let (mut store, vms) = (seeded.open(), seeded.vms);
        let now = unix_now();
        for begin in (0..vms).step_by(SEEDED_AT_ONCE) {
            let end = vms.min(begin + SEEDED_AT_ONCE);
            let writes: Vec<Write> = (begin..end).map(|number| register(number, disks, now)).collect();
            store
                .write(&writes.iter().collect::<Vec<_>>())
                .into_iter()
                .for_each(|written| assert!(written.is_ok(), "{written:?}"));
        }
        store.write(&[&issue(1, TOKEN, now)]).remove(0).expect("a new token");
        seeded
    }

    /// Gives `count` VMs a token each, which is the VM's number; the distance from one to the next.
    pub fn spread_tokens(&self, count: usize) -> usize {
        let (stride, now) = (self.vms / count, unix_now());
        let number = |at: usize| 1 + at * stride;
        let issue = |at| issue(number(at), &format!("{:064x}", number(at)), now);
        let writes: Vec<Write> = (0..count).map(issue).collect();
        let written = self.open().write(&writes.iter().collect::<Vec<_>>());
        written.into_iter().for_each(|written| assert!(written.is_ok(), "{written:?}"));
        stride
    }

    /// Puts a point of each of so many series for each of `seconds`.
    pub fn put_points(&self, series: usize, seconds: Range<i64>) {
        let mut store = self.open();
        let keys: Vec<MetricKey> = (0..series).map(|series| MetricKey::from_store(&key(series))).collect();
        let put = |second| {
            let new = |series: usize| {
                let value = MetricValue::new(value_at(series, second)).expect("it is finite");
                NewPoint { key: keys[series].clone(), point: Point { timestamp: second, value } }
            };
            let points = Arc::new((0..series).map(new).collect());
            Write::Put { login: None, points, keys_max: limits::METRIC_KEYS_MAX, is_atomic: false }
        };
        for seconds in seconds.collect::<Vec<_>>().chunks(10) {
            let writes: Vec<Write> = seconds.iter().map(|second| put(*second)).collect();
            let written = store.write(&writes.iter().collect::<Vec<_>>());
            written.into_iter().for_each(|written| assert!(written.is_ok(), "{written:?}"));
        }
    }

    /// A connection like those of the daemon's workers, while no daemon uses the store.
    pub fn open(&self) -> Box<dyn Store> {
        let location = Location::parse(&self.location).expect("a place");
        let factory = store::open_for_server(&location, 1).expect("a store");
        factory.open().expect("a store");
        factory.connect().expect("a connection")
    }

    /// A bare SQLite connection to its file.
    pub fn bare(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.path(), flags).expect("a database");
        connection.set_prepared_statement_cache_capacity(64);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).expect("a setting");
        connection
    }

    /// The same, with the settings of the daemon's for writes.
    pub fn bare_writer(&self) -> Connection {
        let connection = self.bare();
        for (name, value) in [("synchronous", "FULL"), ("temp_store", "MEMORY"), ("secure_delete", "FAST")] {
            connection.pragma_update(None, name, value).expect("a setting");
        }
        connection.pragma_update(None, "cache_size", -limits::SQLITE_CACHE_KIB).expect("a setting");
        connection.pragma_update(None, "cell_size_check", true).expect("a setting");
        connection
            .pragma_update(None, "journal_size_limit", limits::SQLITE_WAL_BYTES_KEPT)
            .expect("a setting");
        connection
    }

    fn path(&self) -> PathBuf {
        self.folder.as_ref().expect("a store in a file").path().join(FILE)
    }
}

/// The registration of one more VM.
pub fn register(number: usize, disks: usize, now: UnixSeconds) -> Write {
    let vm = NewVm {
        name: VmName::from_store(&format!("vm-{number:07}")),
        shape: VmShape { ram_mib: 512, cpus: 4 },
        disk_sizes_gib: vec![100; disks],
        password_hash: Some(HASH.to_owned()),
        management: None,
    };
    Write::Register { vm, vms_max: u64::MAX >> 1, now }
}

fn issue(id: usize, token: &str, now: UnixSeconds) -> Write {
    let name = VmName::from_store(&format!("vm-{:07}", id - 1));
    Write::IssueToken {
        login: Login { id: VmId(id as i64), epoch: 0, name },
        token: vmherd::internals::app::token::hash(&Secret::new(token)),
        expires: UnixSeconds(now.0 + 86_400),
        replaces: None,
        rehash: None,
        now,
    }
}

const FILE: &str = "store";
const SEEDED_AT_ONCE: usize = 10_000;
/// A hash of the usual length; its password is not used.
pub const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2E$RdescudvJCsgt3ub+b8Q3hnGnRr5qN0Jq3XwT0OJX5w";
