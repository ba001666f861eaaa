//! Connections, their principals, and the pages of lists.

use super::*;
use crate::model::VmName;

const POLICY: ListenerPolicy = ListenerPolicy {
    open_registration: true,
    anonymous_access: AnonymousAccess::ALL,
    has_operators: true,
    is_local: true,
    demands_access_token: false,
};

fn conn(index: u32, generation: u32) -> ConnId {
    ConnId { index, generation }
}

fn login(id: i64) -> Login {
    Login { id: VmId(id), epoch: 0, name: VmName::from_store("vm") }
}

fn opened(count: u32) -> Presence {
    let mut presence = Presence::default();
    for index in 0..count {
        presence.open(conn(index, 1), Peer::Unix { uid: None }, POLICY, 1);
    }
    presence
}

#[test]
fn a_login_for_a_reused_index_is_ignored() {
    let mut presence = opened(1);
    presence.close(conn(0, 1), OfflineReason::Closed);
    presence.open(conn(0, 2), Peer::Unix { uid: None }, POLICY, 1);
    presence.log_in(conn(0, 1), login(1), Some(TokenHash([1; 32])));
    assert_eq!(presence.rights(conn(0, 2), &Caller::default()).principal, Principal::Anonymous);
    assert_eq!(presence.authenticated_count(), 0);
}

#[test]
fn root_and_the_own_user_are_operators_where_the_policy_has_operators() {
    let plain = ListenerPolicy { has_operators: false, ..POLICY };
    let cases = [
        (Peer::Unix { uid: Some(0) }, POLICY, true),
        (Peer::Unix { uid: Some(7) }, POLICY, true),
        (Peer::Unix { uid: Some(8) }, POLICY, false),
        (Peer::Unix { uid: None }, POLICY, false),
        (Peer::Unix { uid: Some(0) }, plain, false),
        (Peer::Tcp([127, 0, 0, 1].into(), 1), POLICY, false),
    ];
    for (peer, policy, is_operator) in cases {
        let mut presence = Presence::default();
        presence.open(conn(0, 1), peer, policy, 7);
        let principal = presence.rights(conn(0, 1), &Caller::default()).principal;
        assert_eq!(principal == Principal::Operator, is_operator, "{peer:?}");
    }
}

#[test]
fn forwarded_requests_have_no_local_rights() {
    let public = ListenerPolicy { is_local: false, has_operators: false, ..POLICY };
    for (policy, is_forwarded, has_rights) in
        [(POLICY, false, true), (POLICY, true, false), (public, true, true)]
    {
        let (mut presence, conn) = (Presence::default(), conn(0, 1));
        presence.open(conn, Peer::Unix { uid: Some(0) }, policy, 7);
        let caller = Caller { is_forwarded, ..Caller::default() };
        let operator = if policy.has_operators { Principal::Operator } else { Principal::Anonymous };
        let rights = Rights {
            principal: if has_rights { operator } else { Principal::Anonymous },
            open_registration: has_rights,
            anonymous_access: if has_rights { AnonymousAccess::ALL } else { AnonymousAccess::NONE },
        };
        assert_eq!(presence.rights(conn, &caller), rights);
        presence.log_in(conn, login(1), None);
        let principal = Principal::Vm(login(1));
        assert_eq!(presence.rights(conn, &caller), Rights { principal, ..rights }, "a login still counts");
        let direct = Caller::default();
        assert_eq!(presence.rights(conn, &direct).anonymous_access, AnonymousAccess::ALL);
    }
}

#[test]
fn pages_show_each_connection_once() {
    let count = 2 * limits::PAGE_PEERS_SCANNED_MAX as u32 + 100;
    let mut presence = opened(count);
    for index in (0..count).step_by(1000) {
        presence.log_in(conn(index, 1), login(1), Some(TokenHash([1; 32])));
    }
    for (list, step) in [(List::ActiveVms, 1), (List::AuthenticatedVms, 1000)] {
        let (mut seen, mut from) = (Vec::new(), Some(Cursor::FromPeer(0)));
        while let Some(Cursor::FromPeer(index)) = from {
            let (peers, next) = presence.page(list, index);
            assert!(peers.len() <= limits::PAGE_ROWS_MAX);
            seen.extend(peers.iter().map(|peer| peer.index));
            from = next;
        }
        assert_eq!(seen, (0..count).step_by(step).collect::<Vec<_>>());
    }
}

#[test]
fn tokens_outlast_a_failed_login_and_are_bounded() {
    let mut presence = opened(1);
    for number in 0..40 {
        assert_eq!(
            presence.token_to_replace(conn(0, 1)).is_some(),
            number >= limits::TOKENS_PER_CONNECTION_MAX,
        );
        presence.log_in(conn(0, 1), login(1), Some(TokenHash([number as u8; 32])));
        presence.log_out(conn(0, 1));
    }
    assert!(!presence.is_authenticated(conn(0, 1)));
    // The newest are remembered, oldest first; the oldest of them would be replaced.
    let newest = (40 - limits::TOKENS_PER_CONNECTION_MAX..40).map(|number| TokenHash([number as u8; 32]));
    let newest: Vec<TokenHash> = newest.collect();
    assert_eq!(presence.tokens(conn(0, 1)), newest);
    assert_eq!(presence.token_to_replace(conn(0, 1)), Some(newest[0]));
    // A remembered one that is presented again becomes the newest.
    presence.log_in(conn(0, 1), login(1), Some(newest[0]));
    presence.log_out(conn(0, 1));
    assert_eq!(presence.tokens(conn(0, 1)), [&newest[1..], &newest[..1]].concat());
    presence.forget_tokens(conn(0, 1));
    assert!(presence.tokens(conn(0, 1)).is_empty());
}

/// Three connections, of which clients that watch are told.
fn watched() -> Presence {
    let mut presence = opened(3);
    presence.record_changes(true);
    presence.set_time(Instant::ORIGIN, UnixSeconds(50));
    presence
}

/// The changes since the last call: VM, why it is offline, whether it was online before.
fn changes(presence: &mut Presence) -> Vec<(i64, Option<OfflineReason>, bool)> {
    let changes = presence.take_changes().into_iter();
    changes.map(|change| (change.vm.0, change.offline, change.was_online)).collect()
}

#[test]
fn nothing_is_recorded_while_no_client_watches() {
    let mut presence = opened(1);
    presence.log_in(conn(0, 1), login(1), None);
    presence.log_out(conn(0, 1));
    assert!(!presence.has_changes());
    presence.record_changes(true);
    presence.log_in(conn(0, 1), login(1), None);
    presence.record_changes(true);
    assert!(presence.has_changes(), "it is recorded already");
    presence.record_changes(false);
    assert!(!presence.has_changes());
}

#[test]
fn the_first_and_the_last_session_of_a_vm_are_changes() {
    let mut presence = watched();
    presence.log_in(conn(0, 1), login(1), None);
    let online = presence.take_changes().remove(0);
    assert_eq!((online.presence.connected_since, online.presence.peers.len()), (Some(UnixSeconds(50)), 1));
    presence.log_in(conn(1, 1), login(1), None);
    assert_eq!(changes(&mut presence), [(1, None, true)]);
    presence.close(conn(0, 1), OfflineReason::Reset);
    assert_eq!(changes(&mut presence), []);
    presence.set_time(Instant::ORIGIN, UnixSeconds(60));
    presence.close(conn(1, 1), OfflineReason::Timeout);
    let offline = presence.take_changes().remove(0);
    assert_eq!(offline.offline, Some(OfflineReason::Timeout));
    let wanted = VmPresence { last_seen: Some(UnixSeconds(60)), ..VmPresence::default() };
    assert_eq!(offline.presence, wanted);
    presence.close(conn(2, 1), OfflineReason::Closed);
    assert_eq!(changes(&mut presence), [], "it was anonymous");
}

#[test]
fn a_login_decides_what_its_connection_was() {
    let gone = |reason| (1, Some(reason), true);
    for (outcome, wanted) in [
        ("the same VM", vec![(1, None, true)]),
        ("another VM", vec![gone(OfflineReason::TakenOver), (2, None, false)]),
        ("failure", vec![gone(OfflineReason::Logout)]),
        ("end", vec![gone(OfflineReason::Closed)]),
        ("another connection", vec![(1, None, true)]),
    ] {
        let mut presence = watched();
        presence.log_in(conn(0, 1), login(1), None);
        changes(&mut presence);
        presence.begin_login(conn(0, 1));
        assert_eq!(changes(&mut presence), [], "{outcome}: it is not known yet");
        match outcome {
            "the same VM" => presence.log_in(conn(0, 1), login(1), None),
            "another VM" => presence.log_in(conn(0, 1), login(2), None),
            "end" => presence.close(conn(0, 1), OfflineReason::Closed),
            "another connection" => presence.log_in(conn(1, 1), login(1), None),
            _ => {}
        }
        presence.settle_login(conn(0, 1), OfflineReason::Logout);
        assert_eq!(changes(&mut presence), wanted, "{outcome}");
        presence.settle_login(conn(0, 1), OfflineReason::Logout);
        assert_eq!(changes(&mut presence), [], "{outcome}: once");
    }
}
