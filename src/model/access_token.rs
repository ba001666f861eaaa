//! Access tokens: those which clients of the dialect `verb` need where the listener demands them, and those of readers.

use super::name::VmName;
use super::secret::TokenHash;
use crate::clock::UnixSeconds;
use crate::ids::AccessTokenId;

/// An access token, as the operator sees it: the token itself is never stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessToken {
    /// Its id.
    pub id: AccessTokenId,
    /// When it was added.
    pub created_at: UnixSeconds,
    /// Whether it is valid.
    pub is_enabled: bool,
    /// The name of the reader that it stands for; `None`: it is for verbs.
    pub reader_name: Option<VmName>,
}

/// A client that may read everything and change nothing, known by its access token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reader {
    /// The token.
    pub token: AccessTokenId,
    /// The name that the operator gave it.
    pub name: VmName,
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
        /// The name of the reader that it stands for; `None`: it is for verbs.
        reader_name: Option<VmName>,
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

impl AccessTokenChange {
    /// The token that is no longer valid after it.
    pub fn ended(&self) -> Option<AccessTokenId> {
        match self {
            AccessTokenChange::SetEnabled { id, is_enabled: false } | AccessTokenChange::Remove(id) => {
                Some(*id)
            }
            _ => None,
        }
    }
}
