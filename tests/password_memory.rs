//! The memory of password hashing is returned to the system. A process of its own, since it measures the whole process.

use vmherd::internals::limits;
use vmherd::internals::model::Secret;
use vmherd::internals::work::password::{Cost, Hasher};

#[test]
fn a_hasher_frees_its_memory_every_time() {
    // Not on the main thread: the C library's heaps of other threads keep freed memory.
    std::thread::spawn(|| {
        let cost = Cost { memory_kib: limits::ARGON2_MEMORY_KIB, passes: 1, lanes: 1 };
        let mut hasher = Hasher::new(cost);
        let before_kib = resident_kib();
        for round in 0..3 {
            hasher.hash(&Secret::new("securePass123")).expect("it hashes");
            let held_kib = resident_kib() - before_kib;
            assert!(held_kib >= i64::from(limits::ARGON2_MEMORY_KIB), "round {round}: held {held_kib} KiB");
            assert!(held_kib < 22 << 10, "round {round}: held {held_kib} KiB");
            hasher.release_memory();
            let kept_kib = resident_kib() - before_kib;
            assert!(kept_kib < 2 << 10, "round {round}: kept {kept_kib} KiB");
        }
    })
    .join()
    .expect("the thread ends well");
}

/// The memory of its own that this process uses, without pages of files, in KiB.
fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("it tells its memory");
    line.trim().trim_end_matches(" kB").parse().expect("it tells it in KiB")
}
