//! Password hashes: which are accepted or refused, and that failed checks take the same work.

use super::*;
use crate::clock::UnixSeconds;
use crate::model::{NewVm, VmName, VmShape};
use crate::store::{self, Location, Write};
use crate::work::{Hash, Read, Work, WorkResult, WorkerContext};

/// Cheap enough to hash many times.
const CHEAP: Cost = Cost { memory_kib: 64, passes: 2, lanes: 1 };

const PASSWORD: &str = "securePass123 – пароль";

/// Hashes of [`PASSWORD`] by the reference implementation (through argon2-cffi 25.1.0).
const REFERENCE_DEFAULT: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$Kvwb05PNyLP0eoYf9cqwNV1f3bHXdAvr/YkcYjMufM4";
const REFERENCE_SHORT: &str =
    "$argon2id$v=19$m=64,t=3,p=2$MDEyMzQ1Njc4OWFiY2RlZg$nlndSH8w6seQd5pVX8dxug0ijAXokKYa";
const REFERENCE_OLD: &str =
    "$argon2id$v=16$m=256,t=2,p=4$MDEyMzQ1Njc4OWFiY2RlZg$iHyVC6QgqCdMeKTZSM8APyD8J8/4vU1LgjKmFo/zpLA";
const REFERENCE_ARGON2I: &str =
    "$argon2i$v=19$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$pDs9YH0GQ6DZjKO5ISGylsHliC5mHHSRCtxrY6NuDxs";

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

fn verify(cost: Cost, password: &str, stored: &str) -> PasswordCheck {
    Hasher::new(cost).verify(&secret(password), Some(stored)).unwrap()
}

#[test]
fn a_hash_matches_only_its_password() {
    let mut hasher = Hasher::new(CHEAP);
    let stored = hasher.hash(&secret(PASSWORD)).unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{stored}");
    assert_eq!(hasher.verify(&secret(PASSWORD), Some(&stored)), Ok(PasswordCheck::Right));
    for wrong in ["", "securePass124", "securePass123 – парол", "securePass123 – пароль "] {
        assert_eq!(hasher.verify(&secret(wrong), Some(&stored)), Ok(PasswordCheck::Wrong), "{wrong}");
    }
    hasher.release_memory();
    assert_eq!(hasher.verify(&secret(PASSWORD), Some(&stored)), Ok(PasswordCheck::Right));
}

#[test]
fn every_hash_has_a_salt_of_its_own() {
    let mut hasher = Hasher::new(CHEAP);
    assert_ne!(hasher.hash(&secret(PASSWORD)).unwrap(), hasher.hash(&secret(PASSWORD)).unwrap());
}

#[test]
fn hashes_of_the_reference_implementation_are_accepted() {
    let default = Cost {
        memory_kib: limits::ARGON2_MEMORY_KIB,
        passes: limits::ARGON2_PASSES,
        lanes: limits::ARGON2_LANES,
    };
    assert_eq!(verify(default, PASSWORD, REFERENCE_DEFAULT), PasswordCheck::Right);
    assert_eq!(verify(default, "securePass123", REFERENCE_DEFAULT), PasswordCheck::Wrong);
    for stored in [REFERENCE_SHORT, REFERENCE_OLD] {
        assert_ne!(verify(CHEAP, PASSWORD, stored), PasswordCheck::Wrong, "{stored}");
        assert_eq!(verify(CHEAP, "securePass123", stored), PasswordCheck::Wrong, "{stored}");
    }
}

#[test]
fn a_weaker_hash_is_renewed_by_a_right_password() {
    let strong = Cost { memory_kib: 128, passes: 3, lanes: 2 };
    let weaker =
        [Cost { memory_kib: 127, ..strong }, Cost { passes: 2, ..strong }, Cost { lanes: 1, ..strong }]
            .map(|cost| Hasher::new(cost).hash(&secret(PASSWORD)).unwrap());
    let mut stored: Vec<&str> = weaker.iter().map(String::as_str).collect();
    // A short output, and the first version of argon2.
    stored.extend([REFERENCE_SHORT, REFERENCE_OLD]);
    for stored in stored {
        let PasswordCheck::RightRehashed(new) = verify(strong, PASSWORD, stored) else {
            panic!("not renewed: {stored}");
        };
        assert_eq!(verify(strong, PASSWORD, &new), PasswordCheck::Right, "{new}");
        assert_eq!(verify(strong, "securePass123", stored), PasswordCheck::Wrong, "{stored}");
    }
    let stronger = Cost { memory_kib: 256, passes: 4, lanes: 3 };
    for cost in [strong, stronger] {
        let stored = Hasher::new(cost).hash(&secret(PASSWORD)).unwrap();
        assert_eq!(verify(strong, PASSWORD, &stored), PasswordCheck::Right, "{stored}");
    }
}

#[test]
fn costly_and_foreign_hashes_are_refused_without_a_run() {
    let phc =
        |start: &str| format!("{start}$MDEyMzQ1Njc4OWFiY2RlZg$Kvwb05PNyLP0eoYf9cqwNV1f3bHXdAvr/YkcYjMufM4");
    let cases = [
        (phc("$argon2id$v=19$m=65537,t=2,p=1"), HashRefusal::TooCostly(65_537, 2, 1)),
        (phc("$argon2id$v=19$m=4294967295,t=2,p=1"), HashRefusal::TooCostly(u32::MAX, 2, 1)),
        (phc("$argon2id$v=19$m=64,t=11,p=1"), HashRefusal::TooCostly(64, 11, 1)),
        (phc("$argon2id$v=19$m=64,t=2,p=5"), HashRefusal::TooCostly(64, 2, 5)),
        (phc("$argon2id$v=19$m=4294967296,t=2,p=1"), HashRefusal::Malformed),
        (phc("$argon2id$v=19$m=8,t=2,p=2"), HashRefusal::Malformed),
        (phc("$argon2id$v=18$m=64,t=2,p=1"), HashRefusal::Malformed),
        (phc("$argon2id$v=19$m=64,t=0,p=1"), HashRefusal::Malformed),
        (REFERENCE_ARGON2I.to_string(), HashRefusal::OtherAlgorithm),
        (phc("$scrypt$ln=15"), HashRefusal::OtherAlgorithm),
        ("$argon2id$v=19$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg".to_string(), HashRefusal::Malformed),
        ("$argon2id$v=19$m=64,t=2,p=1".to_string(), HashRefusal::Malformed),
        (String::new(), HashRefusal::Malformed),
        (PASSWORD.to_string(), HashRefusal::Malformed),
    ];
    for (stored, refusal) in cases {
        assert_eq!(StoredHash::parse(&stored).err(), Some(refusal), "{stored}");
        let mut hasher = Hasher::new(CHEAP);
        assert_eq!(hasher.verify(&secret(PASSWORD), Some(&stored)), Ok(PasswordCheck::Wrong), "{stored}");
        assert!(has_run_dummy(&hasher, PASSWORD), "{stored}");
    }
    let allowed = phc("$argon2id$v=19$m=65536,t=10,p=4");
    assert!(StoredHash::parse(&allowed).is_ok(), "hashes at the limits are allowed");
}

#[test]
fn a_missing_hash_takes_a_run_of_the_configured_cost() {
    let mut hasher = Hasher::new(CHEAP);
    assert_eq!(hasher.verify(&secret(PASSWORD), None), Ok(PasswordCheck::Wrong));
    assert!(has_run_dummy(&hasher, PASSWORD));
    assert!(!has_run_dummy(&hasher, "securePass123"), "the evidence depends on the password");
    assert!(!has_run_dummy(&Hasher::new(CHEAP), PASSWORD), "the evidence depends on the run");
}

#[test]
fn a_failed_login_takes_the_same_runs_for_every_stored_hash() {
    let costs = [CHEAP, Cost { memory_kib: 32, ..CHEAP }, Cost { memory_kib: 256, passes: 1, lanes: 2 }];
    let stored = costs.map(|cost| Hasher::new(cost).hash(&secret(PASSWORD)).unwrap());
    for configured in costs {
        let known = known_costs(configured);
        let starts = stored.each_ref().map(|hash| hash.rsplitn(3, '$').nth(2).expect("a PHC string"));
        starts.into_iter().filter_map(run_of_prefix).for_each(|run| known.learn(run));
        let runs = |password: &str, stored: Option<&str>| {
            let mut hasher = Hasher::sharing(Arc::clone(&known));
            let verdict = hasher.verify(&secret(password), stored).unwrap();
            hasher.runs.sort();
            (verdict != PasswordCheck::Wrong, hasher.runs)
        };
        let mut each = costs.map(|cost| Run { cost, version: 0x13 });
        each.sort();
        // An unknown name, a VM without a password, and a refused hash.
        for stored in [None, Some(""), Some(REFERENCE_ARGON2I)] {
            assert_eq!(runs("wrong", stored), (false, each.to_vec()), "{configured:?} {stored:?}");
        }
        for (stored, cost) in stored.iter().zip(costs) {
            assert_eq!(runs("wrong", Some(stored)), (false, each.to_vec()), "{configured:?} {stored}");
            let (is_right, runs) = runs(PASSWORD, Some(stored));
            assert!(is_right && runs.contains(&Run { cost, version: 0x13 }), "{runs:?}");
            assert!(runs.len() <= 2, "one comparison, one renewal: {runs:?}");
        }
    }
}

/// From the store to the hash: VMs of three costs, one without a password, and an unknown name.
#[test]
fn a_failed_login_hashes_the_same_memory_passes_and_lanes_for_every_name() {
    let costs = [CHEAP, Cost { memory_kib: 32, ..CHEAP }, Cost { memory_kib: 256, passes: 1, lanes: 2 }];
    let factory = store::open(&Location::Memory).unwrap();
    let (mut store, now) = (factory.connect().unwrap(), UnixSeconds(1_800_000_000));
    let shape = VmShape { ram_mib: 512, cpus: 1 };
    let register = |name, cost| {
        let password_hash = Some(Hasher::new(cost).hash(&secret(PASSWORD)).unwrap());
        let vm = NewVm {
            name: VmName::from_store(name),
            shape,
            disk_sizes_gib: vec![],
            password_hash,
            management: None,
        };
        Write::Register { vm, vms_max: 100, now }
    };
    let of_three_costs = ["first", "second", "third"];
    let mut writes: Vec<Write> =
        of_three_costs.into_iter().zip(costs).map(|(name, cost)| register(name, cost)).collect();
    // Its name is its number, 4.
    writes.push(Write::AddVm { shape, disk_sizes_gib: vec![1], vms_max: 100, now });
    assert!(store.write(&writes.iter().collect::<Vec<_>>()).iter().all(Result::is_ok));
    let mut each = costs.map(|cost| Run { cost, version: 0x13 });
    each.sort();
    for configured in costs {
        for name in of_three_costs.into_iter().chain(["4", "unknown"]) {
            // As in a daemon that has just started.
            let mut worker = WorkerContext::new(Arc::clone(&factory), known_costs(configured));
            let mut run = |work: Work| worker.run([&work]).remove(0).unwrap();
            let find = Work::Read(Read::FindCredentials { name: VmName::parse(name).unwrap() });
            let WorkResult::Credentials(found) = run(find) else { panic!("no credentials") };
            assert_eq!(found.is_some(), name != "unknown", "{name}");
            let stored = found.and_then(|found| found.password_hash);
            assert_eq!(stored.is_some(), of_three_costs.contains(&name), "{name}");
            let verified = run(Work::Hash(Hash::Verify { password: secret("wrong"), stored }));
            assert!(matches!(verified, WorkResult::Verified(PasswordCheck::Wrong)), "{name}");
            worker.hasher.runs.sort();
            assert_eq!(worker.hasher.runs, each, "{name} with {configured:?}");
        }
    }
}

#[test]
fn all_hashers_learn_the_cost_of_a_stored_hash() {
    let known = known_costs(CHEAP);
    let [mut one, mut other] = [(); 2].map(|()| Hasher::sharing(Arc::clone(&known)));
    assert_eq!(one.verify(&secret(PASSWORD), None), Ok(PasswordCheck::Wrong));
    assert_eq!(one.runs.len(), 1, "one cost is known, one run");
    // The first version of argon2, which runs slower.
    assert_eq!(one.verify(&secret("wrong"), Some(REFERENCE_OLD)), Ok(PasswordCheck::Wrong));
    let mut learned = one.runs.split_off(1);
    assert_eq!(other.verify(&secret("wrong"), None), Ok(PasswordCheck::Wrong));
    learned.sort();
    other.runs.sort();
    assert_eq!(other.runs, learned);
    assert_eq!(learned.len(), 2);
    assert_eq!((learned[1].cost.memory_kib, learned[1].version), (256, 0x10));
}

#[test]
fn known_costs_are_bounded_and_refused_hashes_add_none() {
    let known = known_costs(CHEAP);
    for start in ["$argon2id$v=19$m=65537,t=2,p=1", "$argon2i$v=19$m=64,t=2,p=1", "$scrypt$ln=15", "", "$"] {
        assert_eq!(run_of_prefix(start), None, "{start}");
    }
    for passes in 1..=limits::ARGON2_PASSES_MAX {
        let run = run_of_prefix(&format!("$argon2id$v=19$m=64,t={passes},p=1")).expect("allowed");
        known.learn(run);
        known.learn(run);
    }
    assert_eq!(known.runs().len(), limits::PASSWORD_COSTS_MAX);
    let mut hasher = Hasher::sharing(known);
    assert_eq!(hasher.verify(&secret(PASSWORD), None), Ok(PasswordCheck::Wrong));
    assert_eq!(hasher.runs.len(), limits::PASSWORD_COSTS_MAX);
}

#[test]
fn the_memory_of_a_larger_hash_is_released() {
    let large = Cost { memory_kib: 4 * CHEAP.memory_kib, ..CHEAP };
    let stored = Hasher::new(large).hash(&secret(PASSWORD)).unwrap();
    let mut hasher = Hasher::new(CHEAP);
    assert_eq!(hasher.verify(&secret(PASSWORD), Some(&stored)), Ok(PasswordCheck::Right));
    assert_eq!(hasher.blocks.capacity(), 0);
}

#[test]
fn an_invalid_cost_is_an_error() {
    let mut hasher = Hasher::new(Cost { memory_kib: 7, passes: 1, lanes: 1 });
    assert!(hasher.hash(&secret(PASSWORD)).is_err());
    assert!(hasher.verify(&secret(PASSWORD), None).is_err());
}

#[test]
fn comparison_covers_every_byte() {
    assert!(is_equal(b"", b""));
    assert!(is_equal(b"abc", b"abc"));
    for different in [&b"abd"[..], b"bbc", b"ab", b"abcd"] {
        assert!(!is_equal(b"abc", different));
    }
}

/// Whether the hasher's memory equals the result of a dummy run with `password` at [`CHEAP`].
fn has_run_dummy(hasher: &Hasher, password: &str) -> bool {
    let params = Params::new(CHEAP.memory_kib, CHEAP.passes, CHEAP.lanes, Some(32)).unwrap();
    let mut blocks = vec![Block::new(); params.block_count()];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password.as_bytes(), &DUMMY_SALT, &mut [0; 32], &mut blocks)
        .unwrap();
    let words =
        |blocks: &[Block]| -> Vec<u64> { blocks.iter().flat_map(|block| block.as_ref()).copied().collect() };
    words(&blocks) == words(&hasher.blocks)
}
