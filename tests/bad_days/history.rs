//! The answers that clients got, and the check of them against what is in the database in the end.

#![allow(unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use crate::WAIT_MAX;
use crate::cluster::Database;
use crate::common::{Daemon, request};

/// The answers that some clients got. VMs are known by their numbers; all else of a VM follows from its memory, so that
/// a VM that is stored in part is detected.
#[derive(Default)]
pub struct VmHistory {
    /// Those that exist, with the memory that was acknowledged last.
    pub vms: BTreeMap<u64, u64>,
    /// Memory that a VM may have instead, or with which it may exist: the answers left it open.
    pub unknown: BTreeMap<u64, Vec<u64>>,
    /// Those whose registration was refused: nothing was done.
    pub refused: BTreeSet<u64>,
    /// Tokens that were issued.
    pub tokens: Vec<String>,
    /// Tokens that were ended.
    pub ended: Vec<String>,
    /// How often each answer came; the empty text means success.
    pub answers: BTreeMap<String, usize>,
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

impl VmHistory {
    /// Adds the answers of other clients.
    pub fn merge(&mut self, other: VmHistory) {
        self.vms.extend(other.vms);
        self.unknown.extend(other.unknown);
        self.refused.extend(other.refused);
        self.tokens.extend(other.tokens);
        self.ended.extend(other.ended);
        for (text, count) in other.answers {
            *self.answers.entry(text).or_default() += count;
        }
        self.worst = std::mem::take(&mut self.worst).max(other.worst);
    }

    /// No client waited too long, and all answers are success or `allowed`.
    #[track_caller]
    pub fn check_answers(&self, allowed: &[&str]) {
        eprintln!("  {:?}; {} VMs; the longest wait was {:?}", self.answers, self.vms.len(), self.worst);
        for text in self.answers.keys() {
            assert!(text.is_empty() || allowed.contains(&text.as_str()), "{text:?} was an answer");
        }
        assert!(self.worst.0 <= WAIT_MAX, "{:?}", self.worst);
        assert!(!self.vms.is_empty(), "nothing was done at all");
    }

    /// What was acknowledged is in `database`, once and whole; what was refused is not; `daemon` accepts the tokens that
    /// it issued and rejects those that it ended.
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
        // Only the last ones were in danger.
        for token in self.tokens.iter().rev().take(TOKENS_CHECKED) {
            assert_eq!(status(token), "success", "a token was acknowledged and is invalid");
        }
        for token in self.ended.iter().rev().take(TOKENS_CHECKED) {
            assert_eq!(status(token), "error", "a token was ended and is valid again");
        }
    }
}

const TOKENS_CHECKED: usize = 100;
