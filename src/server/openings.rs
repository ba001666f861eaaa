//! What a server lets clients do that have not authenticated, in words for whoever runs it.

use crate::app::presence::Admission;
use crate::config::ListenAddress;

/// What each of `listeners` opens, and to whom; nothing where none opens anything.
pub(super) fn openings<'a>(
    listeners: impl IntoIterator<Item = (&'a ListenAddress, Admission)>,
) -> Option<String> {
    let open: Vec<String> = listeners.into_iter().filter_map(|(address, of)| opening(address, of)).collect();
    if open.is_empty() {
        return None;
    }
    Some(format!(
        "open without a password: {}; to close it: --listen ADDRESS?open=none and --registration closed \
         (docs/security.md)",
        open.join("; ")
    ))
}

fn opening(address: &ListenAddress, admission: Admission) -> Option<String> {
    let groups = (!admission.opens.is_empty()).then(|| admission.opens.to_string());
    let registration = admission.registers.then(|| "registration".to_owned());
    let what: Vec<String> = groups.into_iter().chain(registration).collect();
    let whom = match address {
        ListenAddress::Unix(_) => "every program that may open it, and every client of a proxy among them",
        ListenAddress::Tcp(_) if admission.is_local => {
            "every program on this host, and every client of a tunnel or proxy among them"
        }
        ListenAddress::Tcp(_) => "every client that reaches it",
    };
    (!what.is_empty()).then(|| format!("{address} ({}) to {whom}", what.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Group, Groups};

    fn tcp(address: &str) -> ListenAddress {
        ListenAddress::Tcp(address.parse().expect("an address"))
    }

    fn admission(is_local: bool, registers: bool, opens: Groups) -> Admission {
        Admission { registers, opens, has_operators: false, is_local }
    }

    #[test]
    fn where_nothing_is_open_nothing_is_said() {
        let (here, there) = (tcp("127.0.0.1:8888"), tcp("10.0.0.1:8888"));
        let listeners =
            [(&here, admission(true, false, Groups::NONE)), (&there, admission(false, false, Groups::NONE))];
        assert_eq!(openings(listeners), None);
    }

    #[test]
    fn one_line_says_what_each_listener_opens_to_whom() {
        let (here, there, shut) = (tcp("127.0.0.1:8888"), tcp("10.0.0.1:80"), tcp("[::1]:8888"));
        let socket = ListenAddress::Unix("/run/vms.sock".into());
        let metrics = [Group::Metrics].into_iter().collect();
        let listeners = [
            (&here, admission(true, true, Groups::ALL)),
            (&there, admission(false, false, metrics)),
            (&shut, admission(true, false, Groups::NONE)),
            (&socket, admission(true, true, Groups::NONE)),
        ];
        let line = openings(listeners).expect("something is open");
        assert_eq!(
            line,
            "open without a password: tcp://127.0.0.1:8888 (action,metrics,convert,verb,registration) to every program \
             on this host, and every client of a tunnel or proxy among them; tcp://10.0.0.1:80 (metrics) to every \
             client that reaches it; unix:/run/vms.sock (registration) to every program that may open it, and every \
             client of a proxy among them; to close it: --listen ADDRESS?open=none and --registration closed \
             (docs/security.md)"
        );
    }
}
