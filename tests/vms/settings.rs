//! Settings with which the daemon must not start, each with an error that names it.

use std::fs;

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
