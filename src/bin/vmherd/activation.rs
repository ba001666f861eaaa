//! Socket activation: listening sockets that a service manager passes with LISTEN_PID, LISTEN_FDS and
//! LISTEN_FDNAMES, see sd_listen_fds(3). They outlive this process, so no client is refused during a restart.

use std::ffi::OsString;
use std::io;
use std::process;

use vmherd::InheritedListener;

use crate::limits;
use crate::sys::inherited::take_inherited;

/// Takes the inherited sockets. Call it before opening anything else.
pub fn inherited_sockets(variable: impl Fn(&str) -> Option<OsString>) -> io::Result<Vec<InheritedListener>> {
    let names = inherited_names(variable)?;
    let count = names.len();
    if count == 0 {
        return Ok(Vec::new());
    }
    let sockets = take_inherited(count).map_err(|error| {
        io::Error::other(format!("the {count} sockets of LISTEN_FDS can't be taken: {error}"))
    })?;
    Ok(sockets.into_iter().zip(names).map(|(socket, name)| InheritedListener { socket, name }).collect())
}

/// The names of the inherited descriptors, which start at 3.
fn inherited_names(variable: impl Fn(&str) -> Option<OsString>) -> io::Result<Vec<String>> {
    let text = |name| variable(name).and_then(|value| value.into_string().ok());
    // The variables may be meant for the parent process.
    if text("LISTEN_PID").and_then(|pid| pid.parse().ok()) != Some(process::id()) {
        return Ok(Vec::new());
    }
    let fds = text("LISTEN_FDS").unwrap_or_default();
    let count: usize = fds.parse().ok().filter(|count| *count <= limits::INHERITED_MAX).ok_or_else(|| {
        io::Error::other(format!("LISTEN_FDS={fds:?} must be a number up to {}", limits::INHERITED_MAX))
    })?;
    let names = text("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(String::from);
    let name = |descriptor| {
        names.next().filter(|name| !name.is_empty()).unwrap_or_else(|| format!("descriptor {descriptor}"))
    };
    Ok((3..count + 3).map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed_in(pid: u32, count: &str, names: Option<&str>) -> io::Result<Vec<String>> {
        inherited_names(|name| match name {
            "LISTEN_PID" => Some(pid.to_string().into()),
            "LISTEN_FDS" => Some(count.into()),
            "LISTEN_FDNAMES" => names.map(OsString::from),
            _ => None,
        })
    }

    fn names(count: &str, names: Option<&str>) -> Vec<String> {
        passed_in(process::id(), count, names).unwrap()
    }

    #[test]
    fn each_descriptor_has_a_name() {
        assert_eq!(names("2", Some("public:inner")), ["public", "inner"]);
        assert_eq!(names("2", Some("public")), ["public", "descriptor 4"]);
        assert_eq!(names("1", Some(":x:y")), ["descriptor 3"]);
        assert_eq!(names("1", None), ["descriptor 3"]);
        assert!(names("0", Some("x")).is_empty());
    }

    #[test]
    fn sockets_for_another_process_are_ignored() {
        assert!(passed_in(1, "2", None).unwrap().is_empty());
        assert!(inherited_names(|_| None).unwrap().is_empty());
    }

    #[test]
    fn invalid_listen_fds_is_an_error() {
        for count in ["", "x", "-1", "64", "99999999999999999999"] {
            assert!(passed_in(process::id(), count, None).is_err(), "{count:?}");
        }
    }
}
