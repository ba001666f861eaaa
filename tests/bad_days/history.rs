//! What clients were told, held against what is in the database in the end.

#![allow(unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use crate::WAIT_MAX;
use crate::cluster::Database;
use crate::common::{Daemon, request};

/// What some clients were told. VMs are known by their numbers; all else of one follows from its memory, so
/// that any half of it shows.
#[derive(Default)]
pub struct Ledger {
    /// Those that exist, with the memory that was acknowledged last.
    pub vms: BTreeMap<u64, u64>,
    /// Memory that a VM may have instead, or with which it may exist: nobody told.
    pub unknown: BTreeMap<u64, Vec<u64>>,
    /// Those whose registration was refused: nothing was done.
    pub refused: BTreeSet<u64>,
    /// Tokens that were issued.
    pub tokens: Vec<String>,
    /// Tokens that were ended.
    pub ended: Vec<String>,
    /// How often each thing was said; the empty text stands for success.
    pub said: BTreeMap<String, usize>,
    /// The longest that a request took, and which.
    pub worst: (Duration, String),
}

/// A VM's disks, by its memory.
pub fn disks(ram: u64) -> [u64; 2] {
    [ram, ram + 1]
}

pub fn name(number: u64) -> String {
    format!("vm-{number}")
}

impl Ledger {
    /// Adds what other clients were told.
    pub fn merge(&mut self, other: Ledger) {
        self.vms.extend(other.vms);
        self.unknown.extend(other.unknown);
        self.refused.extend(other.refused);
        self.tokens.extend(other.tokens);
        self.ended.extend(other.ended);
        for (text, count) in other.said {
            *self.said.entry(text).or_default() += count;
        }
        self.worst = std::mem::take(&mut self.worst).max(other.worst);
    }

    /// Nobody waited too long, and nobody was told anything but success and `allowed`.
    #[track_caller]
    pub fn check_answers(&self, allowed: &[&str]) {
        eprintln!("  {:?}; {} VMs; the longest wait was {:?}", self.said, self.vms.len(), self.worst);
        for text in self.said.keys() {
            assert!(text.is_empty() || allowed.contains(&text.as_str()), "clients were told {text:?}");
        }
        assert!(self.worst.0 <= WAIT_MAX, "{:?}", self.worst);
        assert!(!self.vms.is_empty(), "nothing was done at all");
    }

    /// What was acknowledged is in `database`, once and whole, what was refused is not, and tokens count with
    /// `daemon` as it has said.
    #[track_caller]
    pub fn check(&self, database: &Database<'_>, daemon: &Daemon) {
        self.check_vms(&mut database.client());
        self.check_tokens(daemon);
    }

    #[track_caller]
    pub fn check_vms(&self, database: &mut postgres::Client) {
        let sql = "SELECT name, ram_mib, ARRAY (SELECT size_gib FROM disks WHERE vm = vms.id ORDER BY id)
                   FROM vms WHERE name LIKE 'vm-%'";
        let mut found = BTreeMap::new();
        for row in database.query(sql, &[]).expect(sql) {
            let (name, ram, sizes): (String, i64, Vec<i64>) = (row.get(0), row.get(1), row.get(2));
            let number: u64 = name.trim_start_matches("vm-").parse().expect("a number");
            let wanted = disks(ram.unsigned_abs()).map(u64::cast_signed);
            assert_eq!(sizes, wanted, "{name} with {ram} MiB is not whole");
            assert!(found.insert(number, ram.unsigned_abs()).is_none(), "{name} is there twice");
        }
        for (number, ram) in &self.vms {
            let found =
                found.get(number).unwrap_or_else(|| panic!("vm-{number} was acknowledged and is gone"));
            let others = self.unknown.get(number).map_or(&[][..], Vec::as_slice);
            assert!(found == ram || others.contains(found), "vm-{number}: {found}, not {ram} or {others:?}");
        }
        for number in found.keys() {
            assert!(!self.refused.contains(number), "vm-{number} was refused and is there");
        }
        let sql = "SELECT (SELECT count(*) FROM vms), vms FROM vm_total";
        let row = database.query_one(sql, &[]).expect(sql);
        assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1), "vm_total is not the number of VMs");
    }

    #[track_caller]
    pub fn check_tokens(&self, daemon: &Daemon) {
        let status = |token: &String| {
            let list = request("list", json!({"list_type": "authenticated_vms", "token": token}));
            daemon.client().call(list)["status"].take()
        };
        // The last ones are those that were in danger.
        for token in self.tokens.iter().rev().take(TOKENS_CHECKED) {
            assert_eq!(status(token), "success", "a token was acknowledged and is no good");
        }
        for token in self.ended.iter().rev().take(TOKENS_CHECKED) {
            assert_eq!(status(token), "error", "a token was ended and is good again");
        }
    }
}

const TOKENS_CHECKED: usize = 100;
