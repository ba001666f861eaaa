//! The access tokens in memory.

use std::collections::{BTreeMap, HashMap};

use super::super::{StoreError, WriteOutcome, Written};
use crate::ids::AccessTokenId;
use crate::model::{AccessToken, AccessTokenChange, Reader, TokenHash};

/// The access tokens, and their ids by hash.
#[derive(Default)]
pub(super) struct AccessTokens {
    by_id: BTreeMap<AccessTokenId, (TokenHash, AccessToken)>,
    ids: HashMap<TokenHash, AccessTokenId>,
    last_id: i64,
}

impl AccessTokens {
    pub(super) fn change(&mut self, change: &AccessTokenChange) -> WriteOutcome {
        match change {
            AccessTokenChange::Add { token, .. } if self.ids.contains_key(token) => {
                // Random tokens never collide: a duplicate is a caller's error.
                return Err(StoreError::Unavailable("the access token exists already".to_owned()));
            }
            AccessTokenChange::Add { count_max, .. } if self.by_id.len() >= *count_max => {
                return Err(StoreError::AccessTokenLimitReached);
            }
            AccessTokenChange::Add { token, is_enabled, reader_name, now, .. } => {
                self.last_id += 1;
                let id = AccessTokenId(self.last_id);
                let (is_enabled, reader_name) = (*is_enabled, reader_name.clone());
                let added = AccessToken { id, created_at: *now, is_enabled, reader_name };
                self.by_id.insert(id, (*token, added));
                self.ids.insert(*token, id);
                return Ok(Written::AccessTokenAdded(id));
            }
            AccessTokenChange::SetEnabled { id, is_enabled } => {
                let (_, token) = self.by_id.get_mut(id).ok_or(StoreError::UnknownAccessToken)?;
                token.is_enabled = *is_enabled;
            }
            AccessTokenChange::Remove(id) => {
                let (hash, _) = self.by_id.remove(id).ok_or(StoreError::UnknownAccessToken)?;
                self.ids.remove(&hash);
            }
        }
        Ok(Written::Done)
    }

    /// Whether an enabled token for verbs has this hash.
    pub(super) fn contains(&self, token: &TokenHash) -> bool {
        self.enabled(token).is_some_and(|token| token.reader_name.is_none())
    }

    pub(super) fn reader(&self, token: &TokenHash) -> Option<Reader> {
        let token = self.enabled(token)?;
        Some(Reader { token: token.id, name: token.reader_name.clone()? })
    }

    fn enabled(&self, token: &TokenHash) -> Option<&AccessToken> {
        let (_, token) = self.ids.get(token).and_then(|id| self.by_id.get(id))?;
        Some(token).filter(|token| token.is_enabled)
    }

    pub(super) fn all(&self) -> Vec<AccessToken> {
        self.by_id.values().map(|(_, token)| token.clone()).collect()
    }

    pub(super) fn is_consistent(&self) -> bool {
        self.by_id.len() == self.ids.len()
    }
}
