//! The commands of the registry: register, log in, list, update, log out.

use serde_json::json;

use crate::common::Daemon;
use crate::support::User;

#[test]
fn a_vm_is_registered_listed_updated_and_logged_out() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    let register = ["register", "web-1", "--ram", "2G", "--cpu", "4", "--disk", "100", "--disk", "1.5T"];
    assert_eq!(user.output(&register), "registered web-1\n");
    let list = "NAME   RAM  CPUS  DISKS\nweb-1   2G     4  1=100G 2=1536G\n";
    for command in ["vms", "list_all"] {
        assert_eq!(user.output(&[command, "--vm", "web-1"]), list, "{command}");
    }
    let as_web = |arguments: &[&str]| user.output(&[arguments, &["--vm", "web-1"]].concat());
    assert_eq!(as_web(&["update", "--ram", "4G", "--disk", "1=150G"]), "updated the VM\n");
    assert!(as_web(&["vms"]).ends_with("web-1   4G     4  1=150G 2=1536G\n"));
    assert_eq!(as_web(&["update", "--disk", "1T"]), "updated the VM\n");
    assert_eq!(as_web(&["update_ram", "1024"]), "updated the VM\n");
    assert!(as_web(&["vms"]).ends_with("web-1   1G     4  1=1T\n"), "{}", as_web(&["vms"]));
    assert_eq!(
        as_web(&["update_ram_cpu_disks", "2048", "8", "1=150", "--format", "compact"]),
        "2048\t8\t1=150\n"
    );
    for command in ["disks", "list_all_disks"] {
        assert_eq!(as_web(&[command]), "ID  VM     SIZE\n 1  web-1  150G\n", "{command}");
    }
    assert_eq!(as_web(&["logout"]), "VM (web-1) logged out successfully\n");
}

#[test]
fn lists_of_connections_show_addresses_and_anonymous_ones() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    user.register("web-1", &["100"]);
    let mut anonymous = daemon.client();
    anonymous.ping();
    for command in [&["list_active"][..], &["vms", "--active"]] {
        let document = user.json(&[command, &["--vm", "web-1"]].concat());
        let vms = document["vms"].as_array().expect("a list");
        let mut names: Vec<&serde_json::Value> = vms.iter().map(|vm| &vm["vm_id"]).collect();
        names.sort_by_key(|name| name.to_string());
        assert_eq!(names, [&json!("web-1"), &json!(null)], "{document}");
        assert_eq!(vms[0]["addresses"][0][0], "127.0.0.1");
    }
    for command in [&["list_auth"][..], &["list_authenticated"], &["vms", "--authenticated"]] {
        let text = user.output(&[command, &["--vm", "web-1"]].concat());
        assert!(
            text.starts_with("NAME    RAM  CPUS  DISKS   ADDRESSES\nweb-1  512M     4  1=100G  127.0.0.1:"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}
