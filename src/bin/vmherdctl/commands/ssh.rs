//! `ssh`: the shell of a VM that `create` has made, by the system's SSH client.
//!
//! The client gets the password from this program, which it runs for that ([`answer_ssh`]): no process has it among its
//! arguments or in its environment. The key of the VM's SSH server is kept at the first login and compared from then on.

use std::env;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Arg, ArgAction, ArgMatches};
use serde_json::{Value, json};
use vmherd::ContainerId;

use super::login::name;
use super::wait::Target;
use crate::arguments::positional;
use crate::credentials::Credentials;
use crate::failure::Failure;
use crate::output::{Column, Kind, Output, Schema, Shape};
use crate::session::Session;
use crate::settings::{SECRET_VARIABLES, own_folder};

pub static SSH: Schema =
    Schema { name: "ssh", shape: Shape::Record, columns: &[Column::new("status", "STATUS", Kind::Number)] };

pub fn arguments() -> Vec<Arg> {
    vec![
        positional("name", "NAME", "The VM: the container_uuid of create").required(true),
        positional("command", "COMMAND", "What to run there instead of a shell")
            .num_args(0..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true)
            .action(ArgAction::Append),
    ]
}

/// Becomes the SSH client; in a console runs it and returns its exit code.
pub fn ssh(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let name = name(matches);
    let server = session.server().to_string();
    let kept = Credentials::open()?.find(&server, name).cloned();
    let Some(data) = kept else {
        return Err(Failure::not_found(format!("no credentials of {name} on {server} are kept here"))
            .or_hint("only VMs that create has made have some"));
    };
    let target = Target::of_container(session.server(), &data)?;
    let (host, port) = target.host_and_port()?;
    let user = data["container_username"].as_str().unwrap_or_default();
    let known_hosts = known_hosts(name)?;
    let program = env::current_exe().map_err(|error| Failure::failed(format!("this program: {error}")))?;
    let options = [
        // The client expands per cent signs.
        format!("UserKnownHostsFile=\"{}\"", known_hosts.display().to_string().replace('%', "%%")),
        format!("HostKeyAlias={name}"),
        "HashKnownHosts=no".to_owned(),
        "StrictHostKeyChecking=accept-new".to_owned(),
        "PreferredAuthentications=password,keyboard-interactive".to_owned(),
        "PubkeyAuthentication=no".to_owned(),
        "NumberOfPasswordPrompts=1".to_owned(),
    ];
    let mut client = Command::new("ssh");
    client.args(options.iter().flat_map(|option| ["-o", option])).args(["-p", &port.to_string(), "-l", user]);
    client.arg("--").arg(host);
    client.args(matches.get_many::<String>("command").unwrap_or_default());
    for secret in SECRET_VARIABLES {
        client.env_remove(secret);
    }
    client.env("SSH_ASKPASS", program).env("SSH_ASKPASS_REQUIRE", "force");
    client.env(ASKED_FOR, json!([server, name]).to_string());
    if !session.is_console() {
        return Err(no_client(&client.exec()));
    }
    let status = client.status().map_err(|error| no_client(&error))?;
    let code = status.code().unwrap_or(255);
    Ok(Output::record(&SSH, vec![code.into()]).note(format!("the SSH client ended with {code}")))
}

/// The file with the key of the VM's SSH server, one for each VM: a port may have belonged to an earlier one.
fn known_hosts(name: &str) -> Result<PathBuf, Failure> {
    // What a server calls a VM becomes a part of a path.
    let id = ContainerId::parse(name).ok_or_else(|| Failure::failed(format!("{name} is no UUID")))?;
    let folder = own_folder()?.join("known_hosts");
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))?;
    Ok(folder.join(id.to_string()))
}

/// Removes the key of the SSH server of a VM that is gone.
pub fn forget_key(name: &str) -> Result<(), Failure> {
    let path = known_hosts(name)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::failed(format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

fn no_client(error: &io::Error) -> Failure {
    Failure::failed(format!("the program ssh: {error}")).or_hint("it is in Debian's package openssh-client")
}

/// Prints the password of a VM if the SSH client has run this program to ask for it.
pub fn answer_ssh() -> Option<ExitCode> {
    let asked_for: Value = serde_json::from_str(&env::var(ASKED_FOR).ok()?).ok()?;
    let [server, name] = [asked_for[0].as_str()?, asked_for[1].as_str()?];
    let password = || {
        let credentials = Credentials::open().ok()?;
        Some(credentials.find(server, name)?["container_password"].as_str()?.to_owned())
    };
    // Any other question, such as one about the server's key, is not for this program, nor is the password of another
    // host on the way.
    let is_asked = env::args().nth(1).is_some_and(|prompt| asks_for_password_of(&prompt, name));
    match password().filter(|_| is_asked) {
        Some(password) => {
            let is_written = writeln!(io::stdout(), "{password}").is_ok();
            Some(if is_written { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        None => Some(ExitCode::FAILURE),
    }
}

/// Whether the SSH client asks for the password of a user of the VM `name`, which is the alias of its host.
fn asks_for_password_of(prompt: &str, name: &str) -> bool {
    prompt.to_lowercase().contains("password") && prompt.contains(&format!("@{name}"))
}

/// Set for this program when the SSH client runs it: the server and the name of the VM.
const ASKED_FOR: &str = "VMHERDCTL_SSH_ASKS_FOR";

#[cfg(test)]
mod tests {
    use super::asks_for_password_of;

    #[test]
    fn only_the_vm_gets_its_password() {
        let name = "01234567-89ab-4cde-bfed-0123456789ab";
        assert!(asks_for_password_of(&format!("user_1@{name}'s password: "), name));
        assert!(asks_for_password_of(&format!("(user_1@{name}) Password: "), name));
        for other in ["me@jump.example's password: ", &format!("Are you sure about {name}?"), "Password: "] {
            assert!(!asks_for_password_of(other, name), "{other}");
        }
    }
}
