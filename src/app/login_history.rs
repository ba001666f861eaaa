//! The logins of one connection, and the tokens that it has proven.

use crate::clock::UnixSeconds;
use crate::limits;
use crate::model::{Login, Secret, TokenHash};

use super::token;

/// The logins of one connection.
#[derive(Default)]
pub(super) struct LoginHistory {
    pub(super) login: Option<Login>,
    /// When the login began.
    pub(super) since: UnixSeconds,
    /// The time of its last request.
    pub(super) seen: UnixSeconds,
    /// Tokens issued on this connection or used to authenticate it, oldest first. They outlast the login: a failed
    /// login ends it, but a later logout must revoke them all.
    pub(super) tokens: Vec<TokenHash>,
    /// The one of them that came with a request last, and the keyed hash of its text.
    recent: Option<(u64, TokenHash)>,
}

impl LoginHistory {
    pub(super) fn remember(&mut self, token: TokenHash) {
        self.tokens.retain(|known| *known != token);
        if self.tokens.len() >= limits::TOKENS_PER_CONNECTION_MAX {
            self.tokens.remove(0);
        }
        self.tokens.push(token);
    }

    /// The hash of `token`. `keyed` is another hash of it, which is fast and depends on a key that no client knows: a token
    /// that comes again is recognized by it. A text that has the same one by chance passes for a token that this connection
    /// has proven, so it gains nothing.
    pub(super) fn hash_of(&mut self, token: &Secret, keyed: u64) -> TokenHash {
        match self.recent {
            Some((recent, hash)) if recent == keyed => hash,
            _ => {
                let hash = token::hash(token);
                if self.tokens.contains(&hash) {
                    self.recent = Some((keyed, hash));
                }
                hash
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proven_token_is_not_hashed_again() {
        let (mut history, token) = (LoginHistory::default(), Secret::new("token"));
        let other = Secret::new("other");
        assert_eq!(history.hash_of(&token, 1), token::hash(&token));
        assert_eq!(history.hash_of(&other, 1), token::hash(&other), "the first is not proven");
        history.remember(token::hash(&token));
        assert_eq!(history.hash_of(&token, 1), token::hash(&token));
        assert_eq!(history.hash_of(&other, 2), token::hash(&other));
        assert_eq!(history.hash_of(&other, 1), token::hash(&token), "it is the first by the keyed hash");
    }
}
