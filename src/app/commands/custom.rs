//! Commands and verbs of the embedding program: a handler answers.

use super::{App, Context, Continue, Next, Resume, StageInfo};
use crate::ids::CustomId;
use crate::model::{Answer, BadField, CustomKind, Failure, LongText};
use crate::work::{Work, WorkResult, WrongResult};

/// A handler runs.
#[derive(Debug)]
pub struct Stage {
    kind: CustomKind,
}

impl App {
    pub(super) fn custom(&mut self, context: Context, id: CustomId, parameters: LongText) -> Next<Stage> {
        let Some(peer) = self.presence.peer(context.conn) else { return Next::failed(Failure::Internal) };
        let client = self.embedding.clients.client(context.conn, peer, context.principal);
        let kind = self.embedding.handlers.commands.get(id).kind;
        Next::Work {
            work: Work::Handle(self.embedding.handlers.call(id, parameters, client)),
            stage: Stage { kind },
        }
    }
}

impl Stage {
    /// The failure of a request whose parameters can't be read.
    pub(in crate::app) fn bad_parameters(&self, error: &str) -> Failure {
        match self.kind {
            CustomKind::Command => Failure::BadField(BadField(format!("data: {error}"))),
            CustomKind::Verb => Failure::MalformedRequest,
        }
    }
}

impl StageInfo for Stage {}

impl Continue for Stage {
    fn resume(self, _: Resume<'_>, result: WorkResult) -> Result<Next<Stage>, WrongResult> {
        Ok(Next::Answer(Answer::Custom(result.handled()?)))
    }
}
