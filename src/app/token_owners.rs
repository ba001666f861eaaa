//! Who owned the tokens of recent requests, and most likely still does.
//!
//! Another process may revoke a token at any time, so nothing is allowed because of this: it says for which VM a write may
//! have the store check the token, instead of a look-up before the write.

use std::collections::HashMap;

use crate::limits;
use crate::model::{Login, TokenHash};

/// The owners of tokens.
#[derive(Default)]
pub(super) struct TokenOwners(HashMap<TokenHash, Login>);

impl TokenOwners {
    /// The owner of `token`, if it came with a recent request.
    pub(super) fn get(&self, token: &TokenHash) -> Option<&Login> {
        self.0.get(token)
    }

    /// Remembers that `login` owns `token`.
    pub(super) fn remember(&mut self, token: TokenHash, login: &Login) {
        if self.0.get(&token) == Some(login) {
            return;
        }
        if self.0.len() >= limits::TOKEN_OWNERS_MAX {
            self.0.clear();
        }
        self.0.insert(token, login.clone());
    }

    /// Forgets the owner of `token`.
    pub(super) fn forget(&mut self, token: &TokenHash) {
        self.0.remove(token);
    }
}
