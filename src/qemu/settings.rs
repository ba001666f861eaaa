//! The settings of VMs, and what can be checked of them before the first one starts.

use std::fs::OpenOptions;
use std::io;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::limits;
use crate::model::{HypervisorError, VmShape};

/// How QEMU runs the VMs of a server. All of them are started from the same image.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct QemuSettings {
    /// The image that VMs boot from: an ISO image, or that of a disk (qcow2 or raw). A VM gets the disk with the contents
    /// of the file; what it writes is gone when it ends.
    pub image: PathBuf,
    /// The directory of the VMs, which QEMU's user must be able to write: the state directory of the server.
    pub state_dir: PathBuf,
    /// The program, found as a shell does.
    pub program: PathBuf,
    /// The address of this host at which VMs are reached.
    pub address: Ipv4Addr,
    /// The ports of this host at which VMs are reached, one each.
    pub ports: RangeInclusive<u16>,
    /// What runs the guest's code.
    pub accelerator: Accelerator,
    /// Memory and processors of a VM.
    pub shape: VmShape,
    /// QEMU's machine type.
    pub machine: String,
    /// Further arguments for QEMU.
    pub arguments: Vec<String>,
    /// What VMs reach.
    pub network: GuestNetwork,
    /// A file with cloud-init user-data of the operator's own, which VMs get as well.
    pub user_data: Option<PathBuf>,
    /// The time from the start of QEMU until the guest greets at its SSH port.
    pub ready_timeout: Duration,
    /// The time that guests get to power off when the server stops.
    pub stop_timeout: Duration,
    /// The time after which a VM is ended.
    pub life_max: Option<Duration>,
    /// The time without a connection to its SSH port after which a VM is ended.
    pub idle_timeout: Option<Duration>,
    /// Whether VMs go on without the server, and the next one on this state directory takes them over.
    pub survives: bool,
    /// Whether a guest may reboot; otherwise that ends the VM.
    pub may_reboot: bool,
    /// The address of the server as VMs reach it. With it each VM gets a token, with which a program in it authenticates as
    /// this VM: the file `/etc/vmherd/enrollment.json`, for root only. It needs an open network.
    pub enrollment_address: Option<String>,
}

/// What runs the code of guests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Accelerator {
    /// The processor, if this user may use `/dev/kvm`, or else QEMU.
    #[default]
    Auto,
    /// The processor, through `/dev/kvm`.
    Kvm,
    /// QEMU, which translates the code: some ten times slower.
    Tcg,
}

/// What guests reach over the network. All of them can be reached at their SSH port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum GuestNetwork {
    /// Nothing.
    #[default]
    Restricted,
    /// What this host reaches, and the host itself, its loopback services included.
    Open,
}

impl QemuSettings {
    /// VMs that boot from `image`, with the defaults of the daemon; they live below `state_dir`.
    pub fn new(image: impl Into<PathBuf>, state_dir: impl Into<PathBuf>) -> QemuSettings {
        QemuSettings {
            image: image.into(),
            state_dir: state_dir.into(),
            program: "qemu-system-x86_64".into(),
            address: Ipv4Addr::LOCALHOST,
            ports: limits::VM_PORTS.0..=limits::VM_PORTS.1,
            accelerator: Accelerator::default(),
            shape: VmShape { ram_mib: limits::VM_RAM_MIB, cpus: 1 },
            machine: "q35".to_owned(),
            arguments: Vec::new(),
            network: GuestNetwork::default(),
            user_data: None,
            ready_timeout: limits::VM_READY_TIMEOUT,
            stop_timeout: limits::VM_STOP_TIMEOUT,
            life_max: None,
            idle_timeout: None,
            survives: false,
            may_reboot: false,
            enrollment_address: None,
        }
    }

    /// Where the directories of the VMs are.
    pub(super) fn vms_dir(&self) -> PathBuf {
        self.state_dir.join("vms")
    }

    /// Where the serial logs are.
    pub(super) fn logs_dir(&self) -> PathBuf {
        self.state_dir.join("vm-logs")
    }

    /// Checks what every VM needs, and which accelerator it gets.
    pub(super) fn check(&self) -> Result<Accelerator, HypervisorError> {
        self.check_paths()?;
        self.check_program()?;
        match (self.accelerator, OpenOptions::new().read(true).write(true).open(KVM)) {
            (Accelerator::Tcg, _) => Ok(Accelerator::Tcg),
            (_, Ok(_)) => Ok(Accelerator::Kvm),
            (Accelerator::Kvm, Err(error)) => Err(HypervisorError::new(&format!(
                "--vm-accel kvm: {KVM} can't be used: {error}; its group is usually kvm; or let QEMU run the guests, \
                 slower, with --vm-accel auto"
            ))),
            (Accelerator::Auto, Err(error)) => {
                log::warn!("{KVM} can't be used ({error}): VMs run without it, some ten times slower");
                Ok(Accelerator::Tcg)
            }
        }
    }

    /// The names of sockets are bounded by the system.
    fn check_paths(&self) -> Result<(), HypervisorError> {
        let longest = self.vms_dir().join(LONGEST_SOCKET);
        let length = longest.as_os_str().len();
        match length < SOCKET_PATH_BYTES {
            true => Ok(()),
            false => Err(HypervisorError::new(&format!(
                "--state-dir {} is too long for VMs: the paths of their sockets would have {length} bytes, and can \
                 have {} at most",
                self.state_dir.display(),
                SOCKET_PATH_BYTES - 1,
            ))),
        }
    }

    fn check_program(&self) -> Result<(), HypervisorError> {
        let program = self.program.display();
        let mut command = Command::new(&self.program);
        command.arg("-version").stdin(Stdio::null()).stderr(Stdio::null());
        let why = match command.output() {
            Ok(output) if output.status.success() => {
                let version = String::from_utf8_lossy(&output.stdout);
                let version = version.lines().next().unwrap_or_default();
                log::info!("VMs run in {program}: {version}");
                return Ok(());
            }
            Ok(output) => format!("it ends with {}", output.status),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                "there is no such program; on Debian: apt-get install qemu-system-x86".to_owned()
            }
            Err(error) => error.to_string(),
        };
        Err(HypervisorError::new(&format!("--vm-qemu {program}: {why}")))
    }
}

/// A path as QEMU's options have it: commas are doubled.
pub(super) fn escape_commas(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

const KVM: &str = "/dev/kvm";
/// As long as the longest path of a socket in the directory of the VMs.
const LONGEST_SOCKET: &str = "01234567-89ab-cdef-0123-456789abcdef/console";
/// The size of a socket's path, with its end (unix(7)).
const SOCKET_PATH_BYTES: usize = 108;
