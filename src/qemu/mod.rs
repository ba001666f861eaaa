//! Starts VMs with QEMU, as a user without rights, and ends them: the hypervisor of the daemon.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs`, `image.rs`, `command_line.rs`, `seed/` | what a VM is made from |
//! | `vm_files.rs`, `serial_log.rs` | its files, and what is left of an earlier server |
//! | `qmp.rs`, `link.rs`, `monitor.rs`, `serial.rs`, `probe.rs`, `process.rs` | its sockets and its process |
//! | `guest/`, `diagnostics.rs` | one VM from its order to its end |
//! | `ports.rs`, `driver.rs` | all VMs, on one thread |

mod command_line;
mod diagnostics;
mod driver;
mod guest;
mod image;
mod link;
mod monitor;
mod ports;
mod probe;
mod process;
mod qmp;
mod seed;
mod serial;
mod serial_log;
mod settings;
mod vm_files;

pub use settings::{Accelerator, GuestNetwork, QemuSettings};

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{self, Path};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use driver::{Driver, Request};
use guest::Creation;
use image::{Image, ImageFormat};
use seed::{Enrollment, Seed, UserData};
use vm_files::{Leftover, VmFiles, VmRecord, leftovers};

use crate::clock::{Clock, SystemClock};
use crate::embed::{ContainerOrder, EndReporter, Hypervisor, Responder, RunningContainer};
use crate::ids::ContainerId;
use crate::limits;
use crate::model::{Container, HypervisorError};
use crate::sys::pidfd::Pidfd;

/// A hypervisor that runs each container as a virtual machine in a QEMU of its own.
///
/// A VM is created when its guest greets at its SSH port. The name and the password of its user reach the guest as data
/// for cloud-init (NoCloud), so that it needs no agent. Its files are in the directories `vms` and `vm-logs` of the state
/// directory; two servers must not share that.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use vmherd::{Config, Qemu, QemuSettings, Server};
///
/// let config = Config::default().state_dir("/var/lib/herd");
/// let mut settings = QemuSettings::new("/images/debian-12.qcow2", "/var/lib/herd");
/// settings.shape.ram_mib = 1024;
/// let server = Server::builder(config).hypervisor(Qemu::new(settings)).containers_max(4).bind()?;
/// server.run()?;
/// # Ok(())
/// # }
/// ```
pub struct Qemu {
    settings: Arc<QemuSettings>,
    image: Arc<Image>,
    running: Mutex<Option<Running>>,
}

/// What there is while the server runs.
struct Running {
    driver: Driver,
    user_data: Option<UserData>,
}

impl Qemu {
    /// A hypervisor with these settings. They are checked when its server starts.
    pub fn new(mut settings: QemuSettings) -> Qemu {
        // QEMU runs in the directory of its VM.
        make_absolute(&mut settings.image);
        if settings.program.components().count() > 1 {
            make_absolute(&mut settings.program);
        }
        let image = Arc::new(Image::new(settings.image.clone()));
        Qemu { settings: Arc::new(settings), image, running: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepare(
        &self,
        order: &ContainerOrder,
    ) -> Result<(image::ImageInfo, VmFiles, VmRecord), HypervisorError> {
        let info = self.image.info()?;
        let (vms_dir, logs_dir) = (self.settings.vms_dir(), self.settings.logs_dir());
        let id = order.id.to_string();
        let user_data = self.lock().as_ref().and_then(|running| running.user_data.clone());
        let enrollment = self.settings.enrollment_address.as_deref().zip(order.enrollment.as_ref());
        let seed = seed::image(&Seed {
            instance_id: &id,
            host_name: &id,
            user_name: &order.user_name,
            password: &order.password,
            user_data: user_data.as_ref(),
            enrollment: enrollment.map(|(address, token)| Enrollment { address, vm_id: &id, token }),
        });
        let seed = seed.map_err(|error| HypervisorError::new(&format!("the VM's seed: {error}")))?;
        let record = VmRecord {
            token_sha256: order.token_sha256,
            begun: SystemClock::new().unix_now(),
            boot_id: vm_files::boot_id(),
            start_time: None,
            port: None,
        };
        if let Err(error) = serial_log::remove_old(&logs_dir, &vms_dir, limits::SERIAL_LOGS_KEPT) {
            log::warn!("old logs of VMs in {} can't be removed: {error}", logs_dir.display());
        }
        let files = VmFiles::create(&vms_dir, order.id, &seed, &record)
            .map_err(|error| self.directory_error(&vms_dir, &error))?;
        Ok((info, files, record))
    }

    fn directory_error(&self, directory: &Path, error: &io::Error) -> HypervisorError {
        let (state_dir, directory) = (self.settings.state_dir.display(), directory.display());
        HypervisorError::new(&format!("--state-dir {state_dir}: {directory} can't be written: {error}"))
    }

    fn read_user_data(&self) -> Result<Option<UserData>, HypervisorError> {
        let Some(path) = &self.settings.user_data else { return Ok(None) };
        let error = |why: &dyn std::fmt::Display| {
            HypervisorError::new(&format!("--vm-user-data {}: {why}", path.display()))
        };
        let bytes = fs::read(path).map_err(|failed| error(&failed))?;
        UserData::parse(&bytes).map(Some).map_err(|failed| error(&failed))
    }

    /// Ends what earlier servers have left, except VMs that are to be taken over.
    fn clear(&self) -> Result<Vec<(Leftover, Pidfd)>, HypervisorError> {
        let vms_dir = self.settings.vms_dir();
        let found = leftovers(&vms_dir).map_err(|error| self.directory_error(&vms_dir, &error))?;
        let mut survivors = Vec::new();
        for mut leftover in found {
            let is_ready = leftover.record.as_ref().is_some_and(|record| record.port.is_some());
            match leftover.process.take() {
                Some(process) if self.settings.survives && is_ready => survivors.push((leftover, process)),
                Some(process) => {
                    log::info!("ending the VM {} of an earlier run", leftover.id);
                    let ended = process.kill().and_then(|()| process.wait(limits::LEFTOVER_WAIT));
                    if !matches!(ended, Ok(true)) {
                        let why = format!("the VM {} of an earlier run can't be ended", leftover.id);
                        return Err(HypervisorError::new(&why));
                    }
                    leftover.files.remove();
                }
                None => leftover.files.remove(),
            }
        }
        Ok(survivors)
    }
}

impl Hypervisor for Qemu {
    fn start(&self, ends: EndReporter) -> Result<Vec<RunningContainer>, HypervisorError> {
        let accelerator = self.settings.check()?;
        self.image.check()?;
        let user_data = self.read_user_data()?;
        for directory in [self.settings.vms_dir(), self.settings.logs_dir()] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            made.map_err(|error| self.directory_error(&directory, &error))?;
        }
        let survivors = self.clear()?;
        let running = survivors.iter().filter_map(|(leftover, _)| {
            let token_sha256 = leftover.record.as_ref()?.token_sha256;
            Some(RunningContainer { id: leftover.id, token_sha256 })
        });
        let running: Vec<RunningContainer> = running.collect();
        let driver = Driver::start(Arc::clone(&self.settings), accelerator, ends, survivors)
            .map_err(|error| HypervisorError::new(&format!("no thread for VMs: {error}")))?;
        *self.lock() = Some(Running { driver, user_data });
        // The first client should not wait for the checksum.
        let image = Arc::clone(&self.image);
        let hashing = thread::Builder::new().name("vmherd-image".into()).spawn(move || image.info());
        if let Err(error) = hashing {
            log::warn!("the checksum of the image is computed with the first VM: {error}");
        }
        Ok(running)
    }

    /// The time to wait for a place to boot, to boot, and to undo what failed.
    fn create_time_max(&self) -> Duration {
        2 * self.settings.ready_timeout + limits::VM_UNDO_WAIT
    }

    fn wants_enrollment(&self) -> bool {
        self.settings.enrollment_address.is_some()
    }

    fn create(&self, order: ContainerOrder, responder: Responder<Result<Container, HypervisorError>>) {
        let (info, files, record) = match self.prepare(&order) {
            Ok(prepared) => prepared,
            Err(error) => return responder.respond(Err(error)),
        };
        let running = self.lock();
        let Some(Running { driver, .. }) = &*running else {
            files.remove();
            return responder.respond(Err(HypervisorError::new("the server stops")));
        };
        let disk_gib = (info.format != ImageFormat::Iso).then_some(info.size_gib);
        let creation = Creation {
            format: info.format,
            iso_sha256: info.sha256,
            shape: self.settings.shape,
            disk_sizes_gib: disk_gib.into_iter().collect(),
            responder,
        };
        driver.ask(Request::Create { id: order.id, files, record, creation });
    }

    fn destroy(&self, container: ContainerId, responder: Responder<Result<(), HypervisorError>>) {
        match &*self.lock() {
            Some(running) => running.driver.ask(Request::Destroy(container, responder)),
            None => responder.respond(Err(HypervisorError::new("the server stops"))),
        }
    }

    fn stop(&self, time_max: Duration) {
        let running = self.lock().take();
        if running.is_some_and(|running| !running.driver.stop(time_max)) {
            log::error!("VMs have not ended within {} s", time_max.as_secs_f32());
        }
    }

    fn survivors(&self) -> Vec<ContainerId> {
        if !self.settings.survives {
            return Vec::new();
        }
        let found = leftovers(&self.settings.vms_dir()).unwrap_or_else(|error| {
            log::error!("the VMs that survive are not known: {error}");
            Vec::new()
        });
        found.into_iter().filter(|leftover| leftover.process.is_some()).map(|leftover| leftover.id).collect()
    }
}

fn make_absolute(path: &mut path::PathBuf) {
    if let Ok(absolute) = path::absolute(&*path) {
        *path = absolute;
    }
}
