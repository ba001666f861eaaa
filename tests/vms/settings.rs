//! Settings with which the daemon must not start, each with an error that names it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::common::Builder;
use crate::support::*;

#[track_caller]
fn refused(builder: Builder) -> String {
    let finished = builder.run_to_end();
    assert_ne!(finished.code(), Some(0));
    finished.stderr
}

#[test]
fn what_no_vm_can_run_with_is_refused_at_the_start() {
    let missing = refused(fake("").args(["--vm-qemu", "/no/such/qemu"]));
    assert!(missing.contains("--vm-qemu /no/such/qemu: there is no such program"), "{missing}");
    let no_program = refused(fake("").args(["--vm-qemu", "/etc/passwd"]));
    assert!(no_program.contains("--vm-qemu /etc/passwd: Permission denied"), "{no_program}");
    let failing = refused(fake("").args(["--vm-qemu", "false"]));
    assert!(failing.contains("--vm-qemu false: it ends with exit status: 1"), "{failing}");
    let no_image = refused(fake("").args(["--vm-image", "/no/such/image"]));
    assert!(no_image.contains("--vm-image /no/such/image can't be read: No such file"), "{no_image}");
    let folder = refused(fake("").args(["--vm-image", "/etc"]));
    assert!(folder.contains("--vm-image /etc can't be read: it is not a file"), "{folder}");
    let builder = fake("");
    let user_data = builder.state_dir().join("user-data");
    fs::write(&user_data, "users: []\n").unwrap();
    let unknown = refused(builder.arg("--vm-user-data").arg(&user_data));
    assert!(
        unknown.contains("the user-data begins neither with the line #cloud-config nor with #!"),
        "{unknown}"
    );
    let none = refused(fake("").args(["--vm-user-data", "/no/such/file"]));
    assert!(none.contains("--vm-user-data /no/such/file: No such file"), "{none}");
}

/// Runs the daemon after `script`, as root of its own mounts; the daemon's state directory is `$STATE`.
fn after(builder: Builder, script: &str) -> Builder {
    let is_root = fs::metadata("/proc/self").expect("proc is mounted").uid() == 0;
    let script = format!("STATE={}\n{script}\nexec \"$@\"", builder.state_dir().display());
    builder.through("unshare", &[if is_root { "-m" } else { "-rm" }, "sh", "-ec", &script, "sh"])
}

const WITHOUT_KVM: &str = "mkdir $STATE/dev
    mount -t tmpfs tmpfs $STATE/dev
    for name in null zero urandom; do touch $STATE/dev/$name; mount --bind /dev/$name $STATE/dev/$name; done
    mount --move $STATE/dev /dev";

#[test]
fn kvm_that_can_not_be_used_is_an_error_only_where_it_is_wanted() {
    let kvm = || fake("").arg("--vm-accel").arg("kvm");
    let refused = refused(after(kvm(), WITHOUT_KVM));
    assert!(refused.contains("--vm-accel kvm: /dev/kvm can't be used: No such file"), "{refused}");
    let daemon = after(fake("").arg("--vm-accel").arg("auto"), WITHOUT_KVM).start();
    let created = create(&mut daemon.client());
    let line = "/dev/kvm can't be used";
    assert_eq!(daemon.log().matches(line).count(), 1);
    let command_line = fs::read_to_string(format!("/proc/{}/cmdline", pid(&daemon))).unwrap();
    assert!(command_line.contains("-accel\0tcg\0") && !command_line.contains("kvm\0"), "{command_line}");
    assert_eq!(destroy(&mut daemon.client(), &created)["message"], "OK");
}

#[test]
fn a_full_disk_is_an_error_that_names_the_directory() {
    let full = "mkdir $STATE/vms; mount -t tmpfs -o size=64k tmpfs $STATE/vms";
    let daemon = after(fake(""), full).start();
    assert_eq!(daemon.client().call(verb("CREATE", json!({})))["message"], "Internal error");
    daemon.wait_for_log("vms can't be written: No space left on device");
    assert_eq!((available(&daemon), children(&daemon).len()), (4, 0));
}
