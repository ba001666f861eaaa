//! Limits on VMs that QEMU runs.

use std::time::Duration;

/// The time from the start of QEMU until its guest greets at the SSH port, by default: seconds with hardware support, a
/// minute for a large guest without.
pub const VM_READY_TIMEOUT: Duration = Duration::from_secs(120);
/// Shortest [`VM_READY_TIMEOUT`] that can be set.
pub const VM_READY_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Longest [`VM_READY_TIMEOUT`] that can be set.
pub const VM_READY_TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// The time that guests get to power off when the server stops, by default: a service manager waits for the daemon.
pub const VM_STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// Shortest [`VM_STOP_TIMEOUT`] that can be set.
pub const VM_STOP_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Longest [`VM_STOP_TIMEOUT`] that can be set.
pub const VM_STOP_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Shortest life of a VM, and time without a connection, that can be set.
pub const VM_LIFE_MIN: Duration = Duration::from_secs(1);
/// Longest life of a VM, and time without a connection, that can be set.
pub const VM_LIFE_MAX: Duration = Duration::from_secs(3650 * 86_400);
/// The time that QEMU gets to quit before it is killed; it takes some ten milliseconds.
pub const VM_QUIT_WAIT: Duration = Duration::from_secs(1);
/// The time to undo a creation that has failed: QEMU is killed, which takes longer on a host that swaps.
pub const VM_UNDO_WAIT: Duration = Duration::from_secs(30);
/// VMs that run at the same time, by default: a small host has memory for some.
pub const VMS_RUNNING_MAX: u32 = 4;
/// Ports of this host, by default: as many as VMs, and some that others may hold.
pub const VM_PORTS: (u16, u16) = (22_200, 22_299);
/// Memory of a VM in MiB, by default: small systems boot with it.
pub const VM_RAM_MIB: u32 = 512;
/// Smallest memory of a VM in MiB that can be set.
pub const VM_RAM_MIB_MIN: u32 = 32;
/// What is added to the score of a VM's process, of at most 1000, by which the kernel chooses the one to end when memory
/// runs out: a VM goes before the daemon, which serves all of them.
pub const VM_OOM_SCORE: u16 = 500;
/// The time between attempts to connect to QEMU's sockets, which it makes some milliseconds after its start. An attempt
/// costs microseconds, and the VM boots after it.
pub const QEMU_CONNECT_RETRY: Duration = Duration::from_millis(1);
/// The time that QEMU has to make its sockets and to answer each command. It has much to read on a slow disk.
pub const QEMU_ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of one message of QEMU's monitor; the longest that we ask for has some kilobytes.
pub const QMP_LINE_BYTES_MAX: usize = 64 << 10;
/// The time between two connections to a guest's SSH port, at first. The host accepts connections before the guest does, so
/// one that is not answered tells nothing.
pub const SSH_PROBE_INTERVAL: Duration = Duration::from_millis(250);
/// Part of the time since the start that is added to [`SSH_PROBE_INTERVAL`], as a divisor: a slow guest greets slowly.
pub const SSH_PROBE_INTERVAL_SHARE: u32 = 16;
/// Connections that wait for one guest's greeting at the same time: SSH servers refuse some from the tenth on.
pub const SSH_PROBES_MAX: usize = 4;
/// Bytes that are read from one socket of a VM in one turn; others have their turn after that.
pub const VM_READ_BYTES: usize = 16 << 10;
/// Bytes kept of what QEMU writes on standard error, for the message when it fails.
pub const QEMU_ERROR_BYTES: usize = 4 << 10;
/// Lines of the serial console that are logged when a VM does not become ready.
pub const SERIAL_LINES_LOGGED: usize = 20;
/// Bytes of each of the two files of a serial log: the newest megabyte is kept.
pub const SERIAL_LOG_BYTES: u64 = 512 << 10;
/// Serial logs of VMs that have ended; the oldest is removed.
pub const SERIAL_LOGS_KEPT: usize = 64;
/// Consoles of one VM at the same time.
pub const CONSOLES_PER_VM_MAX: usize = 4;
/// Descriptors that a VM needs at most: its process, its sockets, standard error and log, and its probes or consoles.
pub const DESCRIPTORS_PER_VM: u64 = 6 + CONSOLES_PER_VM_MAX as u64;
/// Bytes of the serial console that wait for one console; one that reads slower is closed.
pub const CONSOLE_OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Bytes of consoles that wait for the guest; it reads no more from them until it has taken these.
pub const CONSOLE_INPUT_BYTES_MAX: usize = 4 << 10;
/// The longest time between two looks at the connections of a VM, for `--vm-idle-timeout`.
pub const VM_IDLE_CHECK: Duration = Duration::from_secs(5);
/// Bytes of an image's beginning that tell its format.
pub const IMAGE_HEAD_BYTES: usize = 40 << 10;
/// The time that a QEMU of an earlier run gets to end after it was killed.
pub const LEFTOVER_WAIT: Duration = Duration::from_secs(5);
/// The time at the end of a stop in which QEMUs are killed.
pub const VM_KILL_RESERVE: Duration = Duration::from_millis(300);
