//! The settings of VMs: each as flag and as variable, their limits, and what they say together.

use std::net::Ipv4Addr;
use std::path::Path;

use vmherd::{Accelerator, GuestNetwork};

use super::table::SETTINGS;
use super::tests::{resolve, value_error};
use super::vm_settings::VmSettings;

/// The settings of VMs with these flags and variables, and the warnings.
fn vms(args: &[&str], environment: &[(&str, &str)]) -> (Option<VmSettings>, Vec<String>) {
    let resolved = resolve(args, environment);
    (resolved.vms, resolved.warnings)
}

#[test]
fn every_setting_works_as_flag_and_as_variable() {
    type Look = fn(&VmSettings) -> String;
    let cases: &[(&str, &str, Look, &str)] = &[
        ("vm-image", "/a.iso", |vms| vms.qemu.image.display().to_string(), "/a.iso"),
        ("vms-running-max", "3", |vms| vms.running_max.to_string(), "3"),
        ("vm-ports", "1000-1010", |vms| format!("{:?}", vms.qemu.ports), "1000..=1010"),
        ("vm-address", "0.0.0.0", |vms| vms.qemu.address.to_string(), "0.0.0.0"),
        ("vm-memory", "64", |vms| vms.qemu.shape.ram_mib.to_string(), "64"),
        ("vm-cpus", "3", |vms| vms.qemu.shape.cpus.to_string(), "3"),
        ("vm-accel", "tcg", |vms| format!("{:?}", vms.qemu.accelerator), "Tcg"),
        ("vm-network", "open", |vms| format!("{:?}", vms.qemu.network), "Open"),
        ("vm-user-data", "/u", |vms| format!("{:?}", vms.qemu.user_data), "Some(\"/u\")"),
        ("vm-ready-timeout", "30s", |vms| format!("{:?}", vms.qemu.ready_timeout), "30s"),
        ("vm-stop-timeout", "1m", |vms| format!("{:?}", vms.qemu.stop_timeout), "60s"),
        ("vm-life-max", "1h", |vms| format!("{:?}", vms.qemu.life_max), "Some(3600s)"),
        ("vm-idle-timeout", "5m", |vms| format!("{:?}", vms.qemu.idle_timeout), "Some(300s)"),
        ("vm-reboot", "yes", |vms| vms.qemu.may_reboot.to_string(), "true"),
        ("vms-survive", "yes", |vms| vms.qemu.survives.to_string(), "true"),
        ("vm-enroll", "no", |vms| format!("{:?}", vms.qemu.enrollment_address), "None"),
        ("vm-machine", "pc", |vms| vms.qemu.machine.clone(), "pc"),
        ("vm-qemu", "/opt/qemu", |vms| vms.qemu.program.display().to_string(), "/opt/qemu"),
        ("vm-qemu-arg", "-S", |vms| format!("{:?}", vms.qemu.arguments), "[\"-S\"]"),
    ];
    for (flag, value, look, expected) in cases {
        let variable = format!("VMHERD_{}", flag.to_uppercase().replace('-', "_"));
        let image = ("VMHERD_VM_IMAGE", if *flag == "vm-image" { value } else { "/image" });
        let as_flag = vms(&[&format!("--{flag}={value}")], &[image]);
        let as_variable = vms(&[], &[image, (&variable, value)]);
        for (vms, warnings) in [as_flag, as_variable] {
            assert_eq!((look(&vms.expect("there is an image")), warnings), ((*expected).into(), vec![]));
        }
    }
    let of_vms = SETTINGS.iter().filter(|setting| setting.is_of_vms());
    let not_tried = of_vms.map(|setting| setting.flag).find(|flag| !cases.iter().any(|case| case.0 == *flag));
    assert_eq!(not_tried, None);
}

#[test]
fn there_are_no_vms_without_an_image() {
    assert_eq!(vms(&[], &[]), (None, vec![]));
    let (none, warnings) = vms(&["--vm-memory", "64", "--vms-survive"], &[]);
    assert_eq!(none, None);
    let wanted = ["--vm-memory", "--vms-survive"]
        .map(|flag| format!("{flag} has no effect: the daemon runs no VMs without --vm-image"));
    assert_eq!(warnings, wanted);
}

#[test]
fn defaults_are_safe() {
    let (vms, _) = vms(&["--vm-image", "a.iso", "--state-dir", "/state"], &[]);
    let qemu = vms.expect("there is an image").qemu;
    assert_eq!((qemu.address, qemu.network), (Ipv4Addr::LOCALHOST, GuestNetwork::Restricted));
    assert_eq!((qemu.accelerator, qemu.survives), (Accelerator::Auto, false));
    assert_eq!(qemu.state_dir, Path::new("/state"));
}

#[test]
fn invalid_values_are_named() {
    for (flag, value, wrong) in [
        ("vm-ports", "2000-1000", "must be two ports like 22200-22299, the first not above the second"),
        ("vm-ports", "0-9", "must be two ports like 22200-22299, the first not above the second"),
        ("vm-ports", "1-65536", "must be two ports like 22200-22299, the first not above the second"),
        ("vm-address", "::1", "must be an IPv4 address"),
        ("vm-accel", "xen", "must be auto, kvm or tcg"),
        ("vm-network", "closed", "must be restricted or open"),
        ("vm-machine", "", "must not be empty"),
        ("vm-image", "", "must be a path"),
    ] {
        let error = value_error(&[&format!("--{flag}={value}")], &[]);
        assert_eq!(error, format!("--{flag}: {value:?} {wrong}"));
    }
}

#[test]
fn a_vm_that_enrolls_must_reach_the_daemon() {
    let of = |listen: &str, network: &str| {
        let args =
            ["--vm-image=a", "--vm-enroll", "--allow-plaintext", "--listen", listen, "--vm-network", network];
        resolve(&args, &[]).vms.expect("there is an image").qemu.enrollment_address.expect("an address")
    };
    assert_eq!(of("tcp://127.0.0.1:8888", "open"), "10.0.2.2:8888");
    assert_eq!(of("tcp://[::]:7", "open"), "10.0.2.2:7");
    assert_eq!(of("tcp://192.0.2.7:7", "open"), "192.0.2.7:7");
    for (listen, network, why) in [
        ("tcp://127.0.0.1:8888", "restricted", "VMs reach the daemon only with --vm-network open"),
        ("unix:/x", "open", "VMs reach the daemon only at a TCP port that --listen names"),
        ("tcp://127.0.0.1:0", "open", "VMs reach the daemon only at a TCP port that --listen names"),
    ] {
        let args = ["--vm-image=a", "--vm-enroll", "--listen", listen, "--vm-network", network];
        assert_eq!(value_error(&args, &[]), format!("--vm-enroll: {why}"));
    }
}

#[test]
fn each_vm_needs_a_port() {
    let error = value_error(&["--vm-image=a", "--vm-ports=1000-1002", "--vms-running-max=4"], &[]);
    assert_eq!(error, "--vm-ports: 3 ports are too few for 4 VMs (--vms-running-max)");
    let error = value_error(&["--vm-image=a", "--vm-ports=1000"], &[]);
    assert_eq!(error, "--vm-ports: 1 ports are too few for 4 VMs (--vms-running-max)");
}
