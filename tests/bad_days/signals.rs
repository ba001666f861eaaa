//! Stops, and reloads of bad settings, while clients work.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::Cluster;
use crate::common::{DEADLINE, DaemonFate, TempDir, registration, wait_until};
use crate::overload::{LatencyProbe, alone, best_of_three};
use crate::traffic::Traffic;
use crate::{amount, daemon_on};

#[test]
fn a_stop_loses_no_write_and_tears_no_reply() {
    let _alone = alone();
    let database = Cluster::shared().database();
    let mut daemon = daemon_on(&database).start();
    for round in 0..amount(3, 20) {
        let traffic = Traffic::start(&daemon, 8, DaemonFate::Stops);
        traffic.wait_done(100);
        let begin = Instant::now();
        daemon.stop();
        let time = begin.elapsed();
        let history = traffic.finish();
        eprintln!("  round {round}: stopped after {time:?}");
        assert!(time < Duration::from_secs(10), "stopped after {time:?}");
        daemon.restart();
        history.check_answers(&[]);
        history.check(&database, &daemon);
    }
}

#[test]
fn bad_settings_change_nothing_and_disturb_no_client() {
    let _alone = alone();
    best_of_three("bad settings", || {
        let dir = TempDir::new();
        let file = dir.path().join("vmherd.conf");
        fs::write(&file, "VMHERD_REQUESTS_PER_CONNECTION=1000\n").expect("a new file");
        let database = Cluster::shared().database();
        let daemon = daemon_on(&database).arg("--config").arg(&file).start();
        let probe = LatencyProbe::start(&daemon);
        let traffic = Traffic::start(&daemon, 6, DaemonFate::Lives);
        let rounds = amount(10, 100);
        for round in 0..rounds {
            let good = "VMHERD_VMS_MAX=1\nVMHERD_REGISTRATION=closed\nVMHERD_REQUESTS_MAX=1\n";
            let bad: Vec<u8> = match round % 8 {
                0 => b"VMHERD_AUTH_QUEUE=0".into(),
                1 => b"VMHERD_LOG='".into(),
                2 => b"VMHERD_LOG=\xff".into(),
                3 => b"VMHERD_REQUEST_TIMEOUT=none".into(),
                4 => vec![b'#'; (1 << 20) + round],
                5 => format!("VMHERD_STORE_FILE=/nonexistent/{round}").into(),
                6 => b"VMHERD_TOKEN_LIFETIME=0".into(),
                _ => format!("VMHERD_VMS_MAX={round}x").into(),
            };
            fs::write(&file, [good.as_bytes(), &bad].concat()).expect("the file");
            daemon.signal("HUP");
            wait_until("it is refused", DEADLINE, || {
                daemon.log().matches("the settings stay as they were: ").count() > round
            });
            traffic.wait_done(5);
        }
        let history = traffic.finish();
        history.check_answers(&[]);
        history.check(&database, &daemon);
        let reply = daemon.client().call(registration("last", &[1]));
        assert_eq!(reply["data"], json!({"auth_id": "last"}), "{reply}");
        probe.finish()
    });
}
