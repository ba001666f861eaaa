//! Waiting for a VM: `wait`, and `create --wait`.

use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches};
use serde_json::Value;
use vmherd::client::ServerAddress;

use super::lists::fetch;
use super::login::name;
use crate::arguments::{duration, option, positional};
use crate::credentials::Credentials;
use crate::failure::{Class, Failure};
use crate::limits;
use crate::output::{Column, Kind, Output, Schema, Shape};
use crate::progress::Progress;
use crate::session::Session;
use crate::time::{now, pause};

pub static WAITED: Schema = Schema {
    name: "waited",
    shape: Shape::Record,
    columns: &[
        Column::new("vm_id", "NAME", Kind::Text),
        Column::new("state", "STATE", Kind::Text),
        Column::new("seconds", "SECONDS", Kind::Number),
    ],
};

/// Where an SSH server should answer: `HOST:PORT`.
pub struct Target(String);

impl Target {
    /// At a port of the server's host.
    fn at_server(server: &ServerAddress, port: u16) -> Target {
        match server {
            ServerAddress::Tcp(address) => {
                let host = address.rsplit_once(':').map_or(&**address, |(host, _)| host);
                Target(format!("{host}:{port}"))
            }
            ServerAddress::Unix(_) => Target(format!("127.0.0.1:{port}")),
        }
    }

    /// Its two parts.
    pub fn host_and_port(&self) -> Result<(&str, u16), Failure> {
        let parts = self.0.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let Some((host, port)) = parts else {
            return Err(Failure::usage(format!("{} is not HOST:PORT", self.0)));
        };
        Ok((host.trim_start_matches('[').trim_end_matches(']'), port))
    }

    /// The SSH server of a new VM.
    pub fn of_container(server: &ServerAddress, data: &Value) -> Result<Target, Failure> {
        let port = data["container_listen_port"].as_u64().and_then(|port| u16::try_from(port).ok());
        port.map(|port| Target::at_server(server, port)).ok_or_else(|| Failure::failed("the VM has no port"))
    }

    /// The SSH server of the VM `name`, whose credentials are kept.
    pub fn of_kept(session: &Session, name: &str) -> Result<Target, Failure> {
        let server = session.server();
        match Credentials::open()?.find(&server.to_string(), name) {
            Some(data) => Target::of_container(server, data),
            None => Err(Failure::not_found(format!("no port of {name} on {server} is kept here"))
                .or_hint("only VMs that create has made have one; --address HOST:PORT names any other")),
        }
    }
}

pub fn arguments() -> Vec<Arg> {
    vec![
        positional("name", "NAME", "The VM").required(true),
        option("for", "STATE", "online, offline or ssh")
            .required(true)
            .value_parser(["online", "offline", "ssh"])
            .hide_possible_values(true),
        within(),
        option("address", "HOST:PORT", "Its SSH server [default: as create has kept]"),
    ]
}

/// The option for the time to wait.
pub fn within() -> Arg {
    option("within", "TIME", "How long to wait [default: 5m]").value_parser(duration())
}

pub fn wait(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let name = name(matches).to_owned();
    let state = matches.get_one::<String>("for").map_or("", String::as_str);
    let took = match state {
        "ssh" => {
            let target = match matches.get_one::<String>("address") {
                Some(address) => Target(address.clone()),
                None => Target::of_kept(session, &name)?,
            };
            wait_for_ssh(&target, matches)?
        }
        _ => wait_for_presence(session, &name, state == "online", matches)?,
    };
    let seconds = (took.as_secs_f64() * 10.0).round() / 10.0;
    let note = format!("{name} is {}", if state == "ssh" { "ready for SSH" } else { state });
    Ok(Output::record(&WAITED, vec![name.into(), state.into(), seconds.into()]).note(note))
}

/// Waits until a connection is authenticated as the VM `name`, or none is.
fn wait_for_presence(
    session: &mut Session,
    name: &str,
    wants_online: bool,
    matches: &ArgMatches,
) -> Result<Duration, Failure> {
    let has_name = |entry: &Value| entry["vm_id"] == name;
    if !fetch(session, "all_vms")?.iter().any(has_name) {
        return Err(Failure::not_found("VM does not exist"));
    }
    let state = if wants_online { "online" } else { "offline" };
    wait_until(&format!("{name} is not {state}"), matches, |_| {
        let connections = fetch(session, "authenticated_vms")?;
        Ok(connections.iter().any(|entry| has_name(&entry["vm_info"])) == wants_online)
    })
}

/// Waits until an SSH server greets there.
pub fn wait_for_ssh(target: &Target, matches: &ArgMatches) -> Result<Duration, Failure> {
    let _progress = Progress::start("waiting for SSH");
    target.host_and_port()?;
    let Target(address) = target;
    wait_until(&format!("no SSH server answers on {address}"), matches, |end| {
        // A name that is not known yet may become known.
        let addresses = address.to_socket_addrs().into_iter().flatten();
        Ok(addresses.into_iter().any(|address| greets(&address, end)))
    })
}

fn greets(address: &std::net::SocketAddr, end: Instant) -> bool {
    let rest = end.saturating_duration_since(now()).clamp(SHORTEST, limits::GREETING_TIMEOUT);
    let greeting = || {
        let mut stream = TcpStream::connect_timeout(address, rest)?;
        stream.set_read_timeout(Some(rest))?;
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting)?;
        std::io::Result::Ok(greeting)
    };
    greeting().is_ok_and(|greeting| greeting == *b"SSH-")
}

/// Looks until `is_so` is true. How long that took.
fn wait_until(
    otherwise: &str,
    matches: &ArgMatches,
    mut is_so: impl FnMut(Instant) -> Result<bool, Failure>,
) -> Result<Duration, Failure> {
    let within = matches.get_one::<Duration>("within").copied().unwrap_or(limits::WAIT);
    let (begin, end) = (now(), now() + within);
    loop {
        if is_so(end)? {
            return Ok(begin.elapsed());
        }
        if now() >= end {
            let seconds = within.as_secs_f64();
            let failure = Failure::new(Class::Timeout, format!("{otherwise} after {seconds} s"));
            return Err(Failure { is_transient: true, ..failure }.or_hint("--within allows more time"));
        }
        pause(limits::WAIT_INTERVAL, end);
    }
}

/// A timeout of zero is none.
const SHORTEST: Duration = Duration::from_millis(1);
