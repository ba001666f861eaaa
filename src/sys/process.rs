//! The process and its threads: descriptors, priorities, user, memory, time since boot.

use std::fs;
use std::io;
use std::time::Duration;

/// Raises the soft limit of open descriptors to the hard limit, and returns it.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` has the type that the call fills in, and is borrowed for the call.
    super::check_result(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    if limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        // SAFETY: as above; the call only reads it.
        super::check_result(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) })?;
        limit = raised;
    }
    Ok(limit.rlim_cur)
}

/// Sets the nice value of the calling thread only (0 to 19).
pub fn set_thread_niceness(niceness: i32) -> io::Result<()> {
    // SAFETY: takes nothing and always succeeds.
    let thread = unsafe { libc::gettid() };
    // On Linux each thread has its own priority, and `PRIO_PROCESS` accepts a thread id.
    // SAFETY: takes numbers only.
    super::check_result(unsafe { libc::setpriority(libc::PRIO_PROCESS, thread as libc::id_t, niceness) })?;
    Ok(())
}

/// The effective user id of this process.
pub fn effective_uid() -> u32 {
    // SAFETY: takes nothing and always succeeds.
    unsafe { libc::geteuid() }
}

/// Resident memory of this process in KiB, if the system reports it.
pub fn resident_kib() -> Option<u64> {
    status_kib("VmRSS:")
}

fn status_kib(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// What this process uses of the system; what it does not report is zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProcessUsage {
    /// The time that its threads have run.
    pub cpu: Duration,
    /// Bytes of memory in RAM.
    pub resident_bytes: u64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// The most descriptors that it may open.
    pub descriptors_max: u64,
}

/// What this process uses now. Reads files of the system, one line for each open descriptor.
pub fn usage() -> ProcessUsage {
    let kib = |name| status_kib(name).unwrap_or(0);
    // SAFETY: all-zero bytes are a valid value of this plain struct.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both have the types that the calls fill in. They can't fail for these resources; otherwise the values
    // stay zero.
    unsafe {
        libc::getrusage(libc::RUSAGE_SELF, &mut used);
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
    }
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    ProcessUsage {
        cpu: time(used.ru_utime) + time(used.ru_stime),
        resident_bytes: kib("VmRSS:") << 10,
        virtual_bytes: kib("VmSize:") << 10,
        // The folder itself is open meanwhile.
        descriptors: fs::read_dir("/proc/self/fd").map_or(0, |open| open.count().saturating_sub(1)) as u64,
        descriptors_max: limit.rlim_cur,
    }
}

/// Time since boot, including time suspended.
pub fn time_since_boot() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` has the type that the call fills in. The call can't fail for an existing clock; otherwise `time`
    // stays zero.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_plausible() {
        let kib = resident_kib().expect("Linux reports it");
        assert!((100..100 << 20).contains(&kib), "{kib}");
    }

    #[test]
    fn the_usage_follows_what_the_process_does() {
        let before = usage();
        assert!(
            before.resident_bytes > 100 << 10 && before.virtual_bytes >= before.resident_bytes,
            "{before:?}"
        );
        assert!((3..=before.descriptors_max).contains(&before.descriptors), "{before:?}");
        let files: Vec<_> =
            (0..200).map(|_| fs::File::open("/dev/null").expect("it can be opened")).collect();
        // Tests beside this one open and close some, too.
        assert!(usage().descriptors > before.descriptors + 100, "{before:?} {:?}", usage());
        while usage().cpu <= before.cpu {
            std::hint::black_box(files.len());
        }
    }

    #[test]
    fn raising_the_limit_sets_soft_to_hard() {
        let raised = raise_descriptor_limit().unwrap();
        let limits = fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        assert_eq!(numbers, [raised, raised]);
        assert_eq!(raise_descriptor_limit().unwrap(), raised, "raising it again changes nothing");
    }

    #[test]
    fn niceness_is_per_thread() {
        let niceness = |path: &str| {
            let stat = fs::read_to_string(path).unwrap();
            // After the name in parentheses the fields start with the third; niceness is the nineteenth.
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
