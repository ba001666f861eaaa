//! `vmherd vm …`: manages VMs directly in the store, even while a daemon uses it. These operations are not
//! available over the network.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write as _};
use std::ops::RangeInclusive;
use std::process::ExitCode;

use vmherd::redact;
use vmherd::{Escaped, NameError, Registry, RegistryError, StoreError, Vm, VmName, VmShape};

use crate::limits;
use crate::open_registry::open_registry;
use crate::password_prompt::read_new_password;
#[cfg(feature = "qemu")]
use crate::running_vm_command;
use crate::settings::{self, Arguments, Flag, Takes, ToolSettings};
use crate::tool::{Tool, ToolError};

/// Runs `vmherd vm`; `args` are the arguments after those two words.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    #[cfg(feature = "qemu")]
    let args = {
        let mut args = args.peekable();
        let word = args.peek().and_then(|word| word.to_str());
        if word.is_some_and(|word| running_vm_command::COMMANDS.contains(&word)) {
            return running_vm_command::run(args);
        }
        args
    };
    TOOL.run(args, VmCommand::parse, VmCommand::execute)
}

/// A command of `vmherd vm`.
#[derive(Clone, PartialEq, Eq, Debug)]
enum VmCommand {
    Add { name: VmName, shape: VmShape, disk_sizes_gib: Vec<u64> },
    List,
    Remove(VmName),
    ChangePassword(VmName),
}

impl VmCommand {
    fn parse(arguments: &Arguments) -> Result<VmCommand, ToolError> {
        let words: Vec<&str> = arguments.positionals.iter().map(String::as_str).collect();
        let command = match words[..] {
            ["add", name] => VmCommand::parse_add(name, arguments)?,
            ["list"] => VmCommand::List,
            ["remove", name] => VmCommand::Remove(parse_existing_name(name)?),
            ["passwd", name] => VmCommand::ChangePassword(parse_existing_name(name)?),
            [] => return Err(TOOL.usage_error("say what to do: add, list, remove or passwd")),
            ["add" | "remove" | "passwd"] => {
                return Err(TOOL.usage_error("say which VM: its name is missing"));
            }
            ["list", extra, ..] | ["add" | "remove" | "passwd", _, extra, ..] => {
                return Err(TOOL.unexpected(extra));
            }
            [other, ..] => {
                return Err(TOOL.usage_error(&format!("there is no command {:?}", redact(other))));
            }
        };
        match TOOL.flags.iter().find(|flag| arguments.has(flag.name)) {
            Some(flag) if !matches!(command, VmCommand::Add { .. }) => {
                Err(TOOL.usage_error(&format!("--{} is for add only", flag.name)))
            }
            _ => Ok(command),
        }
    }

    fn parse_add(name: &str, arguments: &Arguments) -> Result<VmCommand, ToolError> {
        let name = VmName::parse_new(name).map_err(|error| invalid_name(name, error))?;
        let one = |flag, range| match arguments.values(flag).next() {
            Some(text) => parse_number(flag, text, range),
            None => Err(TOOL.usage_error(&format!("--{flag} is missing"))),
        };
        let ram_mib = one("ram", 1..=u64::from(limits::RAM_MIB_MAX))?;
        let cpus = one("cpu", 1..=u64::from(limits::CPUS_MAX))?;
        let disks = arguments.values("disk").map(|text| parse_number("disk", text, 1..=limits::DISK_GIB_MAX));
        let disk_sizes_gib = disks.collect::<Result<Vec<u64>, ToolError>>()?;
        if disk_sizes_gib.len() > limits::DISKS_PER_VM_MAX {
            return Err(TOOL.usage_error(&format!("a VM has {} disks at most", limits::DISKS_PER_VM_MAX)));
        }
        // The limits of both fit into their types.
        Ok(VmCommand::Add {
            name,
            shape: VmShape { ram_mib: ram_mib as u32, cpus: cpus as u16 },
            disk_sizes_gib,
        })
    }

    fn execute(self, settings: ToolSettings) -> Result<(), ToolError> {
        let mut registry = open_registry(&TOOL, &settings, matches!(self, VmCommand::Add { .. }))?;
        let mut output = BufWriter::new(io::stdout().lock());
        match self {
            VmCommand::List => list(&mut registry, &mut output)?,
            VmCommand::Add { name, shape, disk_sizes_gib } => {
                // Fail before the password is typed; the store still decides below.
                if registry.contains(&name)? {
                    return Err(RegistryError::from(StoreError::AlreadyRegistered).into());
                }
                registry.add(name.clone(), shape, disk_sizes_gib, &read_new_password(&name)?)?;
                writeln!(output, "added {}", Escaped(&name))?;
            }
            VmCommand::Remove(name) => {
                registry.remove(&name).map_err(|error| of_vm(&name, error))?;
                writeln!(output, "removed {}", Escaped(&name))?;
            }
            VmCommand::ChangePassword(name) => {
                if !registry.contains(&name)? {
                    return Err(RegistryError::from(StoreError::UnknownVm).into());
                }
                let password = read_new_password(&name)?;
                registry.change_password(&name, &password).map_err(|error| of_vm(&name, error))?;
                let name = Escaped(&name);
                writeln!(output, "changed the password of {name}; its tokens are no longer valid")?;
            }
        }
        Ok(output.flush()?)
    }
}

/// Prints every VM, page by page. Columns widen from page to page, because exact widths would need the whole store
/// in memory. The disks come last: they are long.
fn list(registry: &mut Registry, output: &mut impl io::Write) -> io::Result<()> {
    let mut widths = [0; 4];
    let mut rows = vec![["NAME", "RAM MiB", "CPUS", "MANAGED", "DISKS GiB"].map(String::from)];
    for page in registry.pages() {
        rows.extend(page.map_err(io::Error::other)?.iter().map(row));
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let [name_width, ram_width, cpus_width, managed_width] = widths;
        for [name, ram, cpus, managed, disks] in rows.drain(..) {
            write!(output, "{name:name_width$}  {ram:>ram_width$}  {cpus:>cpus_width$}  ")?;
            writeln!(output, "{managed:managed_width$}  {disks}")?;
        }
    }
    Ok(())
}

fn row(vm: &Vm) -> [String; 5] {
    let sizes: Vec<String> = vm.disks.iter().map(|disk| disk.size_gib.to_string()).collect();
    let disks = if sizes.is_empty() { "-".into() } else { sizes.join(",") };
    let managed = if vm.is_managed { "yes" } else { "no" };
    let (ram, cpus) = (vm.shape.ram_mib.to_string(), vm.shape.cpus.to_string());
    [Escaped(&vm.name).to_string(), ram, cpus, managed.into(), disks]
}

/// The error of a change of the VM `name`.
fn of_vm(name: &VmName, error: RegistryError) -> ToolError {
    match error {
        RegistryError::Store(StoreError::Managed) => {
            let name = Escaped(name);
            ToolError::new(1, format!("{name} is managed by a server; this ends it: vmherd vm stop {name}"))
        }
        other => other.into(),
    }
}

/// A name to look up, which may be one that the store has generated.
fn parse_existing_name(text: &str) -> Result<VmName, ToolError> {
    VmName::parse(text).map_err(|error| invalid_name(text, error))
}

fn invalid_name(text: &str, error: NameError) -> ToolError {
    let beginning: String = redact(text).chars().take(limits::ECHOED_CHARS_MAX).collect();
    TOOL.usage_error(&format!(
        "{beginning:?} is not a valid VM name: it is {error}; allowed are {}",
        NameError::ALLOWED
    ))
}

fn parse_number(flag: &str, text: &str, allowed: RangeInclusive<u64>) -> Result<u64, ToolError> {
    settings::parse_number(text).filter(|number| allowed.contains(number)).ok_or_else(|| {
        let (least, most) = (allowed.start(), allowed.end());
        TOOL.usage_error(&format!("--{flag}: {:?} must be a whole number, {least} to {most}", redact(text)))
    })
}

pub static TOOL: Tool = Tool {
    program: "vmherd vm",
    flags: &[
        Flag { name: "ram", takes: Takes::Value, is_repeatable: false },
        Flag { name: "cpu", takes: Takes::Value, is_repeatable: false },
        Flag { name: "disk", takes: Takes::Value, is_repeatable: true },
    ],
    settings: &[
        "store",
        "store-file",
        "state-dir",
        "vms-max",
        "argon2-memory",
        "argon2-passes",
        "argon2-lanes",
    ],
    warns: true,
    help: HELP,
};
const HELP: &str = "\
Adds, lists and removes virtual machines directly in the store, even while a
daemon uses it.

  vmherd vm add web-1 --ram 2048 --cpu 2 --disk 20 --disk 100
  vmherd vm list
  vmherd vm passwd web-1 < password-file
  vmherd vm remove web-1
  vmherd vm list --state-dir /var/lib/vmherd       VMs of the system's daemon
  vmherd vm create, stop, console, log             VMs that the daemon runs:
                                                   vmherd vm create --help

A password is typed twice, or read as one line of standard input if that is not
a terminal; it has 8 to 1024 bytes. A new password ends the VM's tokens.

  --ram MIB                    memory, for add
  --cpu N                      processors, for add
  --disk GIB                   a disk, for add; may be repeated
  --help                       this text
";

#[cfg(test)]
#[path = "vm_command_tests.rs"]
mod tests;
