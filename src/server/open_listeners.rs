//! The warning at start about what anonymous clients may do.

use crate::app::presence::ListenerPolicy;
use crate::config::ListenAddress;

/// The warning that lists what each of `listeners` opens, and to which clients; `None` if none opens anything.
pub(super) fn describe_open_listeners<'a>(
    listeners: impl IntoIterator<Item = (&'a ListenAddress, ListenerPolicy)>,
) -> Option<String> {
    let open: Vec<String> =
        listeners.into_iter().filter_map(|(address, of)| describe_listener(address, of)).collect();
    if open.is_empty() {
        return None;
    }
    Some(format!(
        "open without a password: {}; to close it: --listen ADDRESS?open=none and --registration closed \
         (docs/security.md)",
        open.join("; ")
    ))
}

fn describe_listener(address: &ListenAddress, policy: ListenerPolicy) -> Option<String> {
    let groups = (!policy.anonymous_access.is_empty()).then(|| policy.anonymous_access.to_string());
    let registration = policy.open_registration.then(|| "registration".to_owned());
    let what: Vec<String> = groups.into_iter().chain(registration).collect();
    let whom = match address {
        ListenAddress::Unix(_) => "every program that may open it, and every client of a proxy among them",
        ListenAddress::Tcp(_) | ListenAddress::Sealed(_) if policy.is_local => {
            "every program on this host, and every client of a tunnel or proxy among them"
        }
        ListenAddress::Tcp(_) | ListenAddress::Sealed(_) => "every client that reaches it",
    };
    (!what.is_empty()).then(|| format!("{address} ({}) to {whom}", what.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AccessGroup, AnonymousAccess};

    fn tcp(address: &str) -> ListenAddress {
        ListenAddress::Tcp(address.parse().expect("an address"))
    }

    fn policy(is_local: bool, open_registration: bool, anonymous_access: AnonymousAccess) -> ListenerPolicy {
        ListenerPolicy {
            open_registration,
            anonymous_access,
            has_operators: false,
            is_local,
            demands_access_token: false,
        }
    }

    #[test]
    fn closed_listeners_give_no_warning() {
        let (here, there) = (tcp("127.0.0.1:8888"), tcp("10.0.0.1:8888"));
        let listeners = [
            (&here, policy(true, false, AnonymousAccess::NONE)),
            (&there, policy(false, false, AnonymousAccess::NONE)),
        ];
        assert_eq!(describe_open_listeners(listeners), None);
    }

    #[test]
    fn warning_lists_what_each_listener_opens() {
        let (here, there, shut) = (tcp("127.0.0.1:8888"), tcp("10.0.0.1:80"), tcp("[::1]:8888"));
        let socket = ListenAddress::Unix("/run/vms.sock".into());
        let metrics = [AccessGroup::Metrics].into_iter().collect();
        let listeners = [
            (&here, policy(true, true, AnonymousAccess::ALL)),
            (&there, policy(false, false, metrics)),
            (&shut, policy(true, false, AnonymousAccess::NONE)),
            (&socket, policy(true, true, AnonymousAccess::NONE)),
        ];
        let line = describe_open_listeners(listeners).expect("something is open");
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
