//! The settings of the VMs that the daemon runs.

use std::path::PathBuf;

use vmherd::QemuSettings;

use crate::limits;

/// The settings of the VMs that the daemon runs.
#[derive(Clone, PartialEq, Debug)]
pub struct VmSettings {
    /// What they boot; `None`: there are none.
    pub(super) image: Option<PathBuf>,
    /// How many run at a time.
    pub running_max: u32,
    /// Whether they get a token of their own.
    pub(super) enroll: bool,
    /// How QEMU runs them; its image and state directory are set last.
    pub qemu: QemuSettings,
}

impl Default for VmSettings {
    fn default() -> VmSettings {
        let qemu = QemuSettings::new("", "");
        VmSettings { image: None, running_max: limits::VMS_RUNNING_DEFAULT, enroll: false, qemu }
    }
}
