//! What listeners allow their clients.

use crate::model::AnonymousAccess;

/// What a listener allows its clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenerPolicy {
    /// Every client may register a VM.
    pub open_registration: bool,
    /// The command groups open to unauthenticated clients.
    pub anonymous_access: AnonymousAccess,
    /// Peers with the uid of root or of this process are operators.
    pub has_operators: bool,
    /// Only this host can connect. Requests forwarded by a proxy come from other hosts, and have none of the rights
    /// above.
    pub is_local: bool,
    /// Every verb needs an access token.
    pub demands_access_token: bool,
}

/// The different policies that connections have had, each by its index: a connection holds only that.
///
/// There are at most as many as a policy has values: 512.
#[derive(Default)]
pub(super) struct ListenerPolicies(Vec<ListenerPolicy>);

impl ListenerPolicies {
    /// The index of `policy`, which is added if it is new.
    pub(super) fn index_of(&mut self, policy: ListenerPolicy) -> u16 {
        let known = self.0.iter().position(|known| *known == policy);
        known.unwrap_or_else(|| {
            self.0.push(policy);
            self.0.len() - 1
        }) as u16
    }

    /// The policy with this index.
    pub(super) fn get(&self, index: u16) -> &ListenerPolicy {
        &self.0[usize::from(index)]
    }
}
