//! The command line of QEMU for one VM.

use std::ffi::OsString;

use super::image::ImageFormat;
use super::settings::{Accelerator, GuestNetwork, QemuSettings, escape_commas};
use super::vm_files::{QMP_SOCKET, SEED_IMAGE, SERIAL_SOCKET};
use crate::ids::ContainerId;

/// The name of the network device's backend.
pub(super) const NETWORK: &str = "n0";

/// The arguments for a VM from an image of this format. Its sockets and seed are relative to its directory, in which QEMU
/// runs.
pub(super) fn arguments(
    settings: &QemuSettings,
    accelerator: Accelerator,
    format: ImageFormat,
    id: ContainerId,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |option: &str, value: &str| arguments.extend([option.into(), value.into()]);
    add("-name", &format!("vmherd-{id}"));
    add("-uuid", &id.to_string());
    add("-machine", &settings.machine);
    if accelerator == Accelerator::Kvm {
        add("-accel", "kvm");
        add("-cpu", "host");
    }
    // QEMU tries them in this order.
    if accelerator != Accelerator::Kvm || settings.accelerator == Accelerator::Auto {
        add("-accel", "tcg");
    }
    add("-m", &format!("{}M", settings.shape.ram_mib));
    add("-smp", &settings.shape.cpus.to_string());
    add("-display", "none");
    add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    add("-chardev", &format!("socket,id=qmp,path={QMP_SOCKET},server=on,wait=off"));
    add("-mon", "chardev=qmp,mode=control");
    add("-chardev", &format!("socket,id=serial,path={SERIAL_SOCKET},server=on,wait=off"));
    add("-serial", "chardev:serial");
    let restrict = match settings.network {
        GuestNetwork::Restricted => ",restrict=on",
        GuestNetwork::Open => "",
    };
    add("-netdev", &format!("user,id={NETWORK}{restrict}"));
    add("-device", &format!("virtio-net-pci,netdev={NETWORK},romfile="));
    // Without it a guest waits for random bytes before it makes its host key.
    add("-device", "virtio-rng-pci");
    let image = escape_commas(&settings.image);
    match format {
        ImageFormat::Iso => {
            add("-drive", &format!("file={image},if=none,id=image,format=raw,media=cdrom,readonly=on"));
            add("-device", "ide-cd,drive=image,bootindex=0");
        }
        ImageFormat::Qcow2 | ImageFormat::Raw => {
            let format = if format == ImageFormat::Raw { "raw" } else { "qcow2" };
            add("-drive", &format!("file={image},if=none,id=image,format={format},snapshot=on"));
            add("-device", "virtio-blk-pci,drive=image,bootindex=0");
        }
    }
    add("-drive", &format!("file={SEED_IMAGE},if=none,id=seed,format=raw,readonly=on"));
    add("-device", "virtio-blk-pci,drive=seed");
    if settings.machine.starts_with("pc") || settings.machine.starts_with("q35") {
        // Tells of a guest's panic, which ends the VM.
        add("-device", "pvpanic-pci");
    }
    if !settings.may_reboot {
        arguments.push("-no-reboot".into());
    }
    arguments.extend(["-nodefaults".into(), "-no-user-config".into()]);
    arguments.extend(settings.arguments.iter().map(OsString::from));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(settings: &QemuSettings, accelerator: Accelerator, format: ImageFormat) -> String {
        let words = arguments(settings, accelerator, format, ContainerId([0xab; 16]));
        words.iter().map(|word| word.to_str().expect("text")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn settings_become_arguments() {
        let mut settings = QemuSettings::new("/images/a,b.iso", "/state");
        let (auto, tcg) = (Accelerator::Auto, Accelerator::Tcg);
        let iso = line(&settings, tcg, ImageFormat::Iso);
        for part in [
            "-uuid abababab-abab-abab-abab-abababababab",
            "-machine q35 -accel tcg -m 512M -smp 1",
            "file=/images/a,,b.iso,if=none,id=image,format=raw,media=cdrom,readonly=on",
            "user,id=n0,restrict=on -device",
            "-device pvpanic-pci -no-reboot",
        ] {
            assert!(iso.contains(part), "{part}: {iso}");
        }
        settings.machine = "microvm".to_owned();
        settings.network = GuestNetwork::Open;
        settings.may_reboot = true;
        settings.arguments = vec!["-cpu".to_owned(), "max".to_owned()];
        let disk = line(&settings, auto, ImageFormat::Qcow2);
        assert!(disk.contains("format=qcow2,snapshot=on") && disk.contains("user,id=n0 -device"), "{disk}");
        assert!(!disk.contains("pvpanic") && !disk.contains("-no-reboot"), "{disk}");
        assert!(disk.ends_with("-nodefaults -no-user-config -cpu max"), "{disk}");
        assert!(line(&settings, auto, ImageFormat::Raw).contains("format=raw,snapshot=on"));
    }

    #[test]
    fn an_accelerator_that_is_forced_is_the_only_one() {
        let mut settings = QemuSettings::new("/image", "/state");
        let accelerators = |settings: &QemuSettings, accelerator| {
            let line = line(settings, accelerator, ImageFormat::Raw);
            let names = line.split("-accel ").skip(1).map(|rest| rest[..3].to_owned());
            names.collect::<Vec<_>>()
        };
        assert_eq!(accelerators(&settings, Accelerator::Kvm), ["kvm", "tcg"]);
        assert_eq!(accelerators(&settings, Accelerator::Tcg), ["tcg"]);
        settings.accelerator = Accelerator::Kvm;
        assert_eq!(accelerators(&settings, Accelerator::Kvm), ["kvm"]);
    }
}
