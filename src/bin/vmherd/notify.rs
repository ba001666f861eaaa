//! Notifications to the service manager, in the protocol of sd_notify(3): datagrams of a few words of text, for
//! which the standard library suffices.
//!
//! Without a service manager every call does nothing. No call waits longer than [`limits::NOTIFY_WAIT`], and a
//! watchdog message never waits.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use crate::limits;
use crate::sys::process::monotonic_time;

/// Sends notifications to the service manager, if there is one.
#[derive(Clone)]
pub struct Notifier {
    target: Option<Arc<Target>>,
}

struct Target {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl Notifier {
    /// A notifier for the socket in the environment variable NOTIFY_SOCKET, looked up with `variable`.
    pub fn new(variable: impl Fn(&str) -> Option<OsString>) -> io::Result<Notifier> {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Notifier { target: None });
        };
        let manager = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(&name)?,
            _ => return Err(io::Error::other(format!("NOTIFY_SOCKET={name:?} is of an unknown kind"))),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(limits::NOTIFY_WAIT))?;
        Ok(Notifier { target: Some(Arc::new(Target { socket, manager })) })
    }

    /// Sends a status text for people.
    pub fn status(&self, text: &str) {
        self.send(&status_line(text));
    }

    /// Reports that the service is ready, after a start or a reload.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\n{}", status_line(status)));
    }

    /// Reports that a reload has begun.
    pub fn reloading(&self) {
        // The time tells the manager whether this answers its own request.
        let now = monotonic_time().as_micros();
        let status = status_line("reading the settings again");
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}\n{status}"));
    }

    /// Reports that the service is stopping, and may need this long for it, whatever the unit says.
    pub fn stopping(&self, time_max: Duration) {
        let (status, time) = (status_line("stopping: finishing requests in flight"), time_max.as_micros());
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={time}\n{status}"));
    }

    /// A function that sends a watchdog message and never waits. `None` without a manager.
    pub fn watchdog(&self) -> io::Result<Option<impl FnMut() + Send + 'static>> {
        let Some(target) = &self.target else { return Ok(None) };
        let manager = target.manager.clone();
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        // A lost message is followed by another one in time.
        Ok(Some(move || drop(socket.send_to_addr(b"WATCHDOG=1", &manager))))
    }

    fn send(&self, text: &str) {
        let Some(target) = &self.target else { return };
        let Target { socket, manager } = &**target;
        while let Err(error) = socket.send_to_addr(text.as_bytes(), manager) {
            if error.kind() != io::ErrorKind::Interrupted {
                let message = text.split('\n').next().unwrap_or_default();
                return log::warn!("can't notify the service manager of {message:?}: {error}");
            }
        }
    }
}

/// Interval of watchdog messages: half of the service manager's timeout.
pub fn watchdog_interval(variable: impl Fn(&str) -> Option<OsString>) -> Option<Duration> {
    let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
    if variable("WATCHDOG_PID").is_some() && number("WATCHDOG_PID") != Some(process::id().into()) {
        return None;
    }
    number("WATCHDOG_USEC").filter(|micros| *micros > 1).map(|micros| Duration::from_micros(micros / 2))
}

/// A status line; control characters in `text` become spaces.
fn status_line(text: &str) -> String {
    format!("STATUS={}", text.replace(char::is_control, " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;

    fn received(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).expect("a message");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn messages_reach_an_abstract_socket() {
        let name = format!("vmherd-notify-{}", process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notifier = Notifier::new(|variable| {
            (variable == "NOTIFY_SOCKET").then(|| OsString::from(format!("@{name}")))
        });
        let notifier = notifier.unwrap();
        notifier.ready("one\ntwo\r\u{85}three");
        assert_eq!(received(&manager), "READY=1\nSTATUS=one two  three");
        let before = monotonic_time().as_micros();
        notifier.reloading();
        let message = received(&manager);
        let lines: Vec<&str> = message.lines().collect();
        let time: u128 = lines[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!(lines[0] == "RELOADING=1" && (before..=before + 60_000_000).contains(&time), "{message}");
        notifier.stopping(Duration::from_secs(7));
        assert!(received(&manager).starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=7000000\nSTATUS="));
        let mut beat = notifier.watchdog().unwrap().expect("there is a manager");
        beat();
        assert_eq!(received(&manager), "WATCHDOG=1");
        drop(manager);
        beat();
        notifier.status("the manager has gone");
    }

    #[test]
    fn notifier_without_manager_does_nothing() {
        let notifier = Notifier::new(|_| None).unwrap();
        notifier.ready("x");
        assert!(notifier.watchdog().unwrap().is_none());
        assert!(Notifier::new(|_| Some("vsock:2:1".into())).is_err());
    }

    #[test]
    fn watchdog_interval_is_half_the_timeout() {
        let interval = |pid: Option<u32>, micros: &str| {
            watchdog_interval(|name| match name {
                "WATCHDOG_PID" => pid.map(|pid| pid.to_string().into()),
                "WATCHDOG_USEC" => Some(micros.into()),
                _ => None,
            })
        };
        let own = Some(process::id());
        assert_eq!(interval(own, "30000000"), Some(Duration::from_secs(15)));
        assert_eq!(interval(None, "2"), Some(Duration::from_micros(1)));
        for (pid, micros) in [(Some(1), "30000000"), (own, "0"), (own, "1"), (own, ""), (own, "-5")] {
            assert_eq!(interval(pid, micros), None, "{pid:?} {micros}");
        }
    }
}
