//! Limits on containers and their credentials.

use std::time::Duration;

/// Containers of one server: each listens on a port of its own.
pub const CONTAINERS_MAX: u32 = u16::MAX as u32;
/// The time to create a container: a guest boots in seconds, on a busy host in a minute.
pub const CREATE_DEADLINE: Duration = Duration::from_secs(120);
/// The time to destroy a container: a guest that does not end is killed in seconds.
pub const DESTROY_DEADLINE: Duration = Duration::from_secs(30);
/// The time after which the destruction of a container that no client knows is tried again.
pub const DESTROY_RETRY: Duration = Duration::from_secs(60);
/// The names of managed VMs that are read at a time to compare them with the containers: those of a server that has as
/// many as it may.
pub const MANAGED_VMS_READ_MAX: usize = CONTAINERS_MAX as usize + 1;
/// The pause before the containers are compared with the registry again, because the store has failed.
pub const RECONCILE_PAUSE: Duration = Duration::from_secs(1);
/// Time between looks whether clients have received their new containers. Systems acknowledge within 40 ms, and the round
/// trip adds up to some tenths of a second; a look costs two system calls.
pub const DELIVERY_CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// Connections looked after at a time: a tenth of a millisecond.
pub const DELIVERIES_PER_CHECK_MAX: usize = 128;
/// Part of the time of a stop that calls of the hypervisor get to return, as a divisor: they should take milliseconds.
pub const HYPERVISOR_CALLS_SHARE: u32 = 4;
/// Minimum time that a stop leaves to the hypervisor when requests used up the whole grace period: enough to kill its
/// guests. The workers end meanwhile.
pub const HYPERVISOR_STOP_MIN: Duration = Duration::from_millis(500);
/// Bytes of the user-data that an operator gives to all guests: as many as the clouds take at most. The seed of each guest
/// has them, in base64.
pub const VM_USER_DATA_BYTES_MAX: usize = 256 << 10;
/// Random bytes of a container's token.
pub const CONTAINER_TOKEN_BYTES: usize = 191;
/// Characters of a container's token: its bytes in base64 without padding.
pub const CONTAINER_TOKEN_CHARS: usize = (CONTAINER_TOKEN_BYTES * 4).div_ceil(3);
/// Rounds of random bytes that a text is made of. The longest takes two or three; more mean that they are not random.
pub const RANDOM_TEXT_ROUNDS_MAX: usize = 64;
/// Digits after `user_` in the name of a container's user.
pub const CONTAINER_USER_DIGITS: usize = 5;
/// Characters of the password of a container's user: 714 bits.
pub const CONTAINER_PASSWORD_CHARS: usize = 120;
