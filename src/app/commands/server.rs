//! The server itself: `ping`, `stats` and the health check.

use super::{App, Continue, Next, Resume, StageInfo};
use crate::ids::ConnId;
use crate::model::{Answer, Failure};
use crate::work::{Read, Work, WorkResult, WrongResult};

/// The health check reads the store.
#[derive(Debug)]
pub struct Stage;

impl App {
    /// Answers a `ping`, by which a VM is seen.
    pub fn ping(&mut self, conn: ConnId) -> Answer {
        self.presence.note_ping(conn);
        match self.presence.peer(conn) {
            Some(peer) => Answer::Pong(peer),
            None => Answer::Failed(Failure::Internal),
        }
    }
}

pub(super) fn health() -> Next<Stage> {
    Next::Work { work: Work::Read(Read::Ping), stage: Stage }
}

impl StageInfo for Stage {}

impl Continue for Stage {
    fn resume(self, at: Resume<'_>, result: WorkResult) -> Result<Next<Stage>, WrongResult> {
        result.pinged()?;
        Ok(match at.app.health.are_writes_healthy() {
            true => Next::Answer(Answer::Healthy),
            false => Next::failed(Failure::StoreUnavailable),
        })
    }
}
