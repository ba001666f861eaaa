//! The access token that a verb needs where its listener demands one.
//!
//! It is looked up before all else, so that a client without one learns nothing: not whether a verb exists, nor what is
//! wrong with its parameters. An unknown token and a disabled one take the same look-up and get the same answer. A
//! missing or malformed one is answered at once: the client knows that itself, and the store has no work with it.
//!
//! Failures are not counted by the limit on logins: a client can't guess 744 random bits, and the audit log has them.

use super::super::token;
use super::{App, Next, Stage, StageInfo};
use crate::clock::UnixSeconds;
use crate::ids::ConnId;
use crate::model::{Command, Failure, Request};
use crate::work::{Read, Work};

/// Looks up the access token of the request.
#[derive(Debug)]
pub struct AccessTokenStage(pub(in crate::app) Box<Request>);

/// Begins a request that needs an access token.
pub(in crate::app) fn check(request: Box<Request>) -> Next {
    match &request.access_token {
        Err(failure) => Next::failed(failure.clone()),
        Ok(None) => Next::failed(Failure::AccessTokenRequired),
        Ok(Some(token)) => {
            let read = Read::FindAccessToken { token: token::hash(token) };
            Next::Work { work: Work::Read(read), stage: Stage::AccessToken(AccessTokenStage(request)) }
        }
    }
}

impl App {
    /// Goes on with the request of `stage` if its access token is valid.
    pub(super) fn resume_with_access_token(
        &mut self,
        conn: ConnId,
        stage: AccessTokenStage,
        is_valid: bool,
        now: UnixSeconds,
    ) -> Next {
        match is_valid {
            true => self.check_token(conn, stage.0, now),
            false => Next::failed(Failure::InvalidAccessToken),
        }
    }
}

impl StageInfo for AccessTokenStage {
    fn weight(&self) -> usize {
        self.0.command.as_ref().map_or(0, Command::rows)
    }
}
