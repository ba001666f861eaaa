//! Access tokens, which clients of the dialect `verb` need where the listener demands them.

use super::secret::TokenHash;
use crate::clock::UnixSeconds;
use crate::ids::AccessTokenId;

/// An access token, as the operator sees it: the token itself is never stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccessToken {
    /// Its id.
    pub id: AccessTokenId,
    /// When it was added.
    pub created_at: UnixSeconds,
    /// Whether it is valid.
    pub is_enabled: bool,
}

/// A change of the access tokens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccessTokenChange {
    /// Adds one; at most `count_max` may exist.
    Add {
        /// Its hash.
        token: TokenHash,
        /// Whether it is valid at once.
        is_enabled: bool,
        /// The most access tokens that the store may hold.
        count_max: usize,
        /// When.
        now: UnixSeconds,
    },
    /// Makes one valid, or not valid.
    SetEnabled {
        /// Which.
        id: AccessTokenId,
        /// Whether it is valid from now on.
        is_enabled: bool,
    },
    /// Removes one.
    Remove(AccessTokenId),
}
