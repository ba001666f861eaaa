//! The warning at start about what anonymous clients may do.

use crate::app::presence::ListenerPolicy;
use crate::config::ListenAddress;

/// The warning that lists what each of `listeners` opens, and to which clients; `None` if none opens anything.
pub(super) fn describe_open_listeners<'a>(
    listeners: impl IntoIterator<Item = (&'a ListenAddress, ListenerPolicy)>,
) -> Option<String> {
    let (mut open, mut has_sealed, mut has_others) = (Vec::new(), false, false);
    for (address, policy) in listeners {
        if let Some(description) = describe_listener(address, policy) {
            let is_sealed = matches!(address, ListenAddress::Sealed(_));
            (has_sealed, has_others) = (has_sealed | is_sealed, has_others | !is_sealed);
            open.push(description);
        }
    }
    let how = match (has_others, has_sealed) {
        (false, false) => return None,
        (true, false) => "--listen ADDRESS?open=none and --registration closed",
        (false, true) => "--sealed-tokens",
        (true, true) => {
            "--listen ADDRESS?open=none and --registration closed, and --sealed-tokens for sealed listeners"
        }
    };
    Some(format!("open without a password: {}; to close it: {how} (docs/security.md)", open.join("; ")))
}

fn describe_listener(address: &ListenAddress, policy: ListenerPolicy) -> Option<String> {
    if policy.demands_access_token {
        return None;
    }
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
            "open without a password: tcp://127.0.0.1:8888 (action,metrics,convert,verb,page,registration) to every \
             program on this host, and every client of a tunnel or proxy among them; tcp://10.0.0.1:80 (metrics) to every \
             client that reaches it; unix:/run/vms.sock (registration) to every program that may open it, and every \
             client of a proxy among them; to close it: --listen ADDRESS?open=none and --registration closed \
             (docs/security.md)"
        );
    }

    #[test]
    fn sealed_listeners_are_closed_by_demanding_tokens() {
        let sealed = ListenAddress::Sealed("0.0.0.0:6150".parse().unwrap());
        let verbs = policy(false, false, [AccessGroup::Verb].into_iter().collect());
        let demanding = ListenerPolicy { demands_access_token: true, ..verbs };
        assert_eq!(describe_open_listeners([(&sealed, demanding)]), None);
        let line = describe_open_listeners([(&sealed, verbs)]).expect("something is open");
        assert_eq!(
            line,
            "open without a password: sealed://0.0.0.0:6150 (verb) to every client that reaches it; to close it: \
             --sealed-tokens (docs/security.md)"
        );
        let here = tcp("127.0.0.1:8888");
        let both = [(&sealed, verbs), (&here, policy(true, false, AnonymousAccess::ALL))];
        let line = describe_open_listeners(both).expect("something is open");
        assert!(line.ends_with(
            "to close it: --listen ADDRESS?open=none and --registration closed, and --sealed-tokens for sealed \
             listeners (docs/security.md)"
        ));
    }
}
