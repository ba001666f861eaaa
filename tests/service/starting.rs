//! A daemon that is stopped before it serves.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::common::TempDir;
use crate::support::{Manager, Process, vmherd};

#[test]
fn a_daemon_with_a_silent_database_stops_on_a_signal() {
    for (signal, name) in [("TERM", "SIGTERM"), ("INT", "SIGINT")] {
        let database = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = database.local_addr().unwrap();
        let (manager, dir) = (Manager::new(), TempDir::new());
        let mut command = vmherd(dir.path());
        command.arg("--store").arg(format!("postgresql://me:hunter2@{address}/herd?connect_timeout=60"));
        command.env("NOTIFY_SOCKET", manager.path());
        let mut process = Process::start(command);
        process.wait_for_log(&format!("opening the store postgresql://me:***@{address}/herd"));
        let (_connection, _) = database.accept().unwrap();

        // The other signals are for the server that starts later.
        process.signal("HUP");
        let begin = Instant::now();
        process.signal(signal);
        assert_eq!(process.wait().code(), Some(0));
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
        let log = process.log();
        assert!(log.contains(&format!("{name}: stopped before the store was open")), "{log}");
        assert!(!log.contains("hunter2") && !log.contains("listening"), "{log}");
        manager.wait_for("STATUS=opening the store");
        assert!(manager.next().starts_with("STOPPING=1"));
    }
}
