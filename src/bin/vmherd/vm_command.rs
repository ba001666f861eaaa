//! `vmherd vm …`: manages the VMs of the registry. These operations are not available over the network.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write as _};
use std::ops::RangeInclusive;
use std::process::ExitCode;

use vmherd::client::{DiskUpdate, VmUpdate};
use vmherd::{Escaped, NameError, VmName, VmShape, redact};

use crate::limits;
use crate::password_prompt::read_new_password;
#[cfg(feature = "qemu")]
use crate::running_vm_command;
use crate::settings::{self, Arguments, Flag, Takes, ToolSettings};
use crate::size::Unit;
use crate::tool::{Tool, ToolError};
use crate::vm_registry::{VmRegistry, unknown_vm};
use crate::vm_table;

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

/// Parses a command from the name after its word and the flags.
type Parse = fn(&str, &Arguments) -> Result<VmCommand, ToolError>;

/// A command of `vmherd vm`.
#[derive(Clone, PartialEq, Eq, Debug)]
enum VmCommand {
    Add { name: VmName, shape: VmShape, disk_sizes_gib: Vec<u64> },
    List { as_json: bool },
    Show { name: VmName, as_json: bool },
    Set { name: VmName, change: VmUpdate },
    Remove(VmName),
    ChangePassword(VmName),
}

impl VmCommand {
    fn parse(arguments: &Arguments) -> Result<VmCommand, ToolError> {
        let words: Vec<&str> = arguments.positionals.iter().map(String::as_str).collect();
        let (word, name) = match words[..] {
            [] => return Err(TOOL.usage_error("say what to do: add, list, show, set, remove or passwd")),
            [word] => (word, None),
            ["list", extra, ..] | [_, _, extra, ..] => return Err(TOOL.unexpected(extra)),
            [word, name] => (word, Some(name)),
        };
        let (usable, parse): (&[&str], Parse) = match word {
            "add" => (&["ram", "cpu", "disk"], parse_add),
            "list" => (&["json"], |_, arguments| Ok(VmCommand::List { as_json: arguments.has("json") })),
            "show" => (&["json"], |name, arguments| {
                Ok(VmCommand::Show { name: parse_existing_name(name)?, as_json: arguments.has("json") })
            }),
            "set" => (&["ram", "cpu", "disk"], parse_set),
            "remove" => (&[], |name, _| Ok(VmCommand::Remove(parse_existing_name(name)?))),
            "passwd" => (&[], |name, _| Ok(VmCommand::ChangePassword(parse_existing_name(name)?))),
            other => return Err(TOOL.usage_error(&format!("there is no command {:?}", redact(other)))),
        };
        if let Some(flag) =
            TOOL.flags.iter().find(|flag| arguments.has(flag.name) && !usable.contains(&flag.name))
        {
            return Err(TOOL.usage_error(&format!("--{} is not for {word}", flag.name)));
        }
        match name {
            None if word != "list" => Err(TOOL.usage_error("say which VM: its name is missing")),
            name => parse(name.unwrap_or_default(), arguments),
        }
    }

    fn execute(self, settings: ToolSettings) -> Result<(), ToolError> {
        let is_new_allowed = matches!(self, VmCommand::Add { .. });
        let mut vms = VmRegistry::open(&TOOL, &settings, is_new_allowed)?;
        let mut output = BufWriter::new(io::stdout().lock());
        match self {
            VmCommand::List { as_json: true } => vm_table::write_list_as_json(&mut vms, &mut output)?,
            VmCommand::List { as_json: false } => vm_table::write_list(&mut vms, &mut output)?,
            VmCommand::Show { name, as_json } => {
                let vm = vms.find(&name)?.ok_or_else(|| unknown_vm(Escaped(&name)))?;
                vm_table::write_vm(&vm, as_json, &mut output)?;
            }
            VmCommand::Add { name, shape, disk_sizes_gib } => {
                let password = read_new_password(&name)?;
                vms.add(&name, shape, disk_sizes_gib, &password).map_err(|error| error.of_vm(&name))?;
                writeln!(output, "added {}", Escaped(&name))?;
            }
            VmCommand::Set { name, change } => {
                vms.set(&name, &change).map_err(|error| error.of_vm(&name))?;
                writeln!(output, "changed {}", Escaped(&name))?;
            }
            VmCommand::Remove(name) => {
                vms.remove(&name).map_err(|error| error.of_vm(&name))?;
                writeln!(output, "removed {}", Escaped(&name))?;
            }
            VmCommand::ChangePassword(name) => {
                let password = read_new_password(&name)?;
                vms.change_password(&name, &password).map_err(|error| error.of_vm(&name))?;
                let name = Escaped(&name);
                writeln!(output, "changed the password of {name}; its tokens are no longer valid")?;
            }
        }
        Ok(output.flush()?)
    }
}

fn parse_add(name: &str, arguments: &Arguments) -> Result<VmCommand, ToolError> {
    let name = VmName::parse_new(name).map_err(|error| invalid_name(name, error))?;
    let missing = |flag| TOOL.usage_error(&format!("--{flag} is missing"));
    let ram_mib = parse_ram(arguments)?.ok_or_else(|| missing("ram"))?;
    let cpus = parse_cpus(arguments)?.ok_or_else(|| missing("cpu"))?;
    let disk_sizes_gib =
        arguments.values("disk").map(parse_disk_size).collect::<Result<Vec<u64>, ToolError>>()?;
    if disk_sizes_gib.len() > limits::DISKS_PER_VM_MAX {
        return Err(TOOL.usage_error(&format!("a VM has {} disks at most", limits::DISKS_PER_VM_MAX)));
    }
    Ok(VmCommand::Add { name, shape: VmShape { ram_mib, cpus }, disk_sizes_gib })
}

fn parse_set(name: &str, arguments: &Arguments) -> Result<VmCommand, ToolError> {
    let mut sizes = Vec::new();
    for text in arguments.values("disk") {
        let parts = text.split_once('=').and_then(|(id, size)| Some((settings::parse_number(id)?, size)));
        let (id, size) = parts.filter(|(id, _)| (1..=i64::MAX as u64).contains(id)).ok_or_else(|| {
            let text = redact(text);
            TOOL.usage_error(&format!("--disk: {text:?} must be a disk and its size, such as 1=20G"))
        })?;
        if sizes.iter().any(|(known, _)| *known == id) {
            return Err(TOOL.usage_error(&format!("--disk: disk {id} is given twice")));
        }
        sizes.push((id, parse_disk_size(size)?));
    }
    let disks = (!sizes.is_empty()).then_some(DiskUpdate::Resize(sizes));
    let change = VmUpdate { ram: parse_ram(arguments)?, cpu: parse_cpus(arguments)?, disks };
    if change == VmUpdate::default() {
        return Err(TOOL.usage_error("say what to change: --ram, --cpu or --disk"));
    }
    Ok(VmCommand::Set { name: parse_existing_name(name)?, change })
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

fn parse_ram(arguments: &Arguments) -> Result<Option<u32>, ToolError> {
    let size = arguments
        .values("ram")
        .next()
        .map(|text| parse_size("ram", text, Unit::Mib, 1..=u64::from(limits::RAM_MIB_MAX)));
    // The limit fits into the type.
    Ok(size.transpose()?.map(|mib| mib as u32))
}

fn parse_cpus(arguments: &Arguments) -> Result<Option<u16>, ToolError> {
    let number = arguments.values("cpu").next().map(|text| {
        let number =
            settings::parse_number(text).filter(|number| (1..=u64::from(limits::CPUS_MAX)).contains(number));
        number.ok_or_else(|| {
            let (text, most) = (redact(text), limits::CPUS_MAX);
            TOOL.usage_error(&format!("--cpu: {text:?} must be a whole number, 1 to {most}"))
        })
    });
    Ok(number.transpose()?.map(|cpus| cpus as u16))
}

fn parse_disk_size(text: &str) -> Result<u64, ToolError> {
    parse_size("disk", text, Unit::Gib, 1..=limits::DISK_GIB_MAX)
}

/// A size in `unit`.
fn parse_size(flag: &str, text: &str, unit: Unit, allowed: RangeInclusive<u64>) -> Result<u64, ToolError> {
    let invalid = |why: &str| TOOL.usage_error(&format!("--{flag}: {:?}: {why}", redact(text)));
    let size = unit.parse(text).map_err(|why| invalid(&why))?;
    if !allowed.contains(&size) {
        let (least, most) = (allowed.start(), allowed.end());
        return Err(invalid(&format!("allowed are {least} to {most} {}", unit.name())));
    }
    Ok(size)
}

pub static TOOL: Tool = Tool {
    program: "vmherd vm",
    flags: &[
        Flag { name: "ram", takes: Takes::Value, is_repeatable: false },
        Flag { name: "cpu", takes: Takes::Value, is_repeatable: false },
        Flag { name: "disk", takes: Takes::Value, is_repeatable: true },
        Flag { name: "json", takes: Takes::Nothing, is_repeatable: false },
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
Manages the VMs of this host's registry: through the daemon, which needs root or
its user, or directly in the store where none runs or --store names one.

  vmherd vm add web-1 --ram 2G --cpu 2 --disk 20G --disk 1T
  vmherd vm list                                   who is there, since when
  vmherd vm show web-1                             with the ids of its disks
  vmherd vm set web-1 --ram 4G --disk 1=40G        1 is the id of a disk
  vmherd vm passwd web-1 < password-file
  vmherd vm remove web-1
  vmherd vm list --state-dir /var/lib/vmherd       VMs of the system's daemon
  vmherd vm create, stop, console, log             VMs that the daemon runs:
                                                   vmherd vm create --help

A password is typed twice, or read as one line of standard input if that is not
a terminal; it has 8 to 1024 bytes. A new password ends the VM's tokens.

Exit code 3: there is no such VM or disk; 2: usage; 1: other failures.

  --ram SIZE                   memory, such as 512M or 2G; 512 is 512M
  --cpu N                      processors
  --disk SIZE or ID=SIZE       a disk, such as 20G; may be repeated. For set:
                               the new size of the disk with this id
  --json                       for list and show: JSON instead of a table
  --help                       this text
";

#[cfg(test)]
#[path = "vm_command_tests.rs"]
mod tests;
