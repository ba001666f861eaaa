//! System calls that the standard library does not have: cores and priorities.

#![allow(unsafe_code)]

use std::io;
use std::mem;

/// The cores that this thread may run on.
pub fn cores() -> Vec<usize> {
    // SAFETY: a set of zeros is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a set of the given size; zero is the calling thread.
    let result = unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set) };
    assert_eq!(result, 0, "the system tells the cores: {}", io::Error::last_os_error());
    // SAFETY: every number is below the size of the set.
    (0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect()
}

/// Keeps this thread, and what it starts from now on, on `cores`.
pub fn pin(cores: &[usize]) {
    // SAFETY: as in `cores`.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    for &core in cores {
        // SAFETY: the cores come from `cores`, so they are below the size of the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: the pointer is to a set of the given size; zero is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, mem::size_of_val(&set), &set) };
    assert_eq!(result, 0, "{cores:?} can be had: {}", io::Error::last_os_error());
}

/// Raises the priority of this process and of those that it starts from now on; false if it may not.
pub fn raise_priority() -> bool {
    // SAFETY: takes numbers only; zero is the calling process.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, PRIORITY) == 0 }
}

/// As operators of servers do, and not so high that the system itself would have to wait.
const PRIORITY: i32 = -10;
