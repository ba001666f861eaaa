//! The process and its threads: descriptors, priorities, whose it is.

use std::fs;
use std::io;
use std::time::Duration;

/// Raises the number of descriptors that this process may have to the most that it may ask for, and tells
/// that number.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a structure of the type that the call fills in, borrowed for the call.
    super::check_result(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    if limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        // SAFETY: as above; the call only reads it.
        super::check_result(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) })?;
        limit = raised;
    }
    Ok(limit.rlim_cur)
}

/// Makes the calling thread, and no other, step back before others: the higher, the farther (0 to 19).
pub fn set_thread_niceness(niceness: i32) -> io::Result<()> {
    // SAFETY: takes nothing and always succeeds.
    let thread = unsafe { libc::gettid() };
    // On Linux priorities belong to threads, and a thread's id is taken where others take a process's.
    // SAFETY: takes numbers only.
    super::check_result(unsafe { libc::setpriority(libc::PRIO_PROCESS, thread as libc::id_t, niceness) })?;
    Ok(())
}

/// The user in whose name this process acts.
pub fn effective_uid() -> u32 {
    // SAFETY: takes nothing and always succeeds.
    unsafe { libc::geteuid() }
}

/// Memory of this process that is in RAM, where the system tells it.
pub fn resident_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// The time since the system's start, the time that it was suspended included.
pub fn time_since_boot() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a structure of the type that the call fills in; it does not fail for a clock that
    // there is, and otherwise leaves zeros.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_plausible() {
        let kib = resident_kib().expect("Linux tells");
        assert!((100..100 << 20).contains(&kib), "{kib}");
    }

    #[test]
    fn raising_the_limit_equals_soft_and_hard() {
        let raised = raise_descriptor_limit().unwrap();
        let limits = fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        assert_eq!(numbers, [raised, raised]);
        assert_eq!(raise_descriptor_limit().unwrap(), raised, "a second time changes nothing");
    }

    #[test]
    fn niceness_is_per_thread() {
        let niceness = |path: &str| {
            let stat = fs::read_to_string(path).unwrap();
            // The fields behind the name in parentheses begin with the third; niceness is the nineteenth.
            let (_, fields) = stat.rsplit_once(')').unwrap();
            fields.split_whitespace().nth(16).unwrap().parse::<i32>().unwrap()
        };
        let before = niceness("/proc/thread-self/stat");
        let in_thread = std::thread::spawn(move || {
            set_thread_niceness(before + 3).unwrap();
            niceness("/proc/thread-self/stat")
        });
        assert_eq!(in_thread.join().unwrap(), before + 3);
        assert_eq!(niceness("/proc/thread-self/stat"), before);
    }

    #[test]
    fn effective_uid_owns_new_files() {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata("/proc/self/fdinfo").unwrap().uid(), effective_uid());
    }
}
