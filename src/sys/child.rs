//! What a child process does before it runs another program, and how a process is told from later ones with its number.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the child of `command` write its process number to `pid_file` before it runs the program. If `dies_with_parent`,
/// the kernel kills it when the thread that spawns it ends.
pub fn prepare(command: &mut Command, pid_file: File, dies_with_parent: bool) {
    let parent = std::process::id();
    // SAFETY: the closure only makes system calls that are safe between fork and exec, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            if dies_with_parent {
                super::check_result(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
                if libc::getppid() as u32 != parent {
                    // The parent has ended before the call.
                    return Err(io::Error::from_raw_os_error(libc::ESRCH));
                }
            }
            let mut digits = [0; 10];
            let text = decimal(libc::getpid() as u32, &mut digits);
            let written = libc::write(pid_file.as_raw_fd(), text.as_ptr().cast(), text.len());
            super::check_result(written as libc::c_int).map(drop)
        });
    }
}

/// Has the kernel end the process `pid` before others when memory runs out: `score` is added to its own, of at most 1000.
pub fn raise_oom_score(pid: u32, score: u16) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string())
}

/// When the process `pid` has started, in clock ticks since the system has.
pub fn start_time(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything. The field is the 22nd; the third follows the name.
    let field = stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(19));
    field.and_then(|field| field.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The number in decimal digits.
fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::OpenOptionsExt;

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, 4_194_304, u32::MAX] {
            assert_eq!(decimal(number, &mut [0; 10]), number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_child_writes_its_number() {
        let path = std::env::temp_dir().join(format!("vmherd-child-{}", std::process::id()));
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        let mut command = Command::new("true");
        prepare(&mut command, file, true);
        let mut child = command.spawn().unwrap();
        assert!(start_time(child.id()).unwrap() >= start_time(std::process::id()).unwrap());
        assert!(child.wait().unwrap().success());
        assert_eq!(fs::read_to_string(&path).unwrap(), child.id().to_string());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_child_dies_with_the_thread_that_started_it() {
        let path = std::env::temp_dir().join(format!("vmherd-orphan-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        let spawn = move || {
            let mut command = Command::new("sleep");
            command.arg("600");
            prepare(&mut command, file, true);
            command.spawn().unwrap()
        };
        let mut child = std::thread::scope(|scope| scope.spawn(spawn).join().unwrap());
        assert!(!child.wait().unwrap().success(), "it was killed");
        fs::remove_file(&path).unwrap();
    }
}
