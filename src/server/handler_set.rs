//! Collects the handlers that a builder is given.

use std::sync::Arc;
use std::time::Duration;

use super::start_error::StartError;
use crate::embed::{Handlers, RequestHandler};
use crate::limits;
use crate::model::{Access, CustomCommands, CustomKind};

/// Handlers, and the first error in their names.
pub(super) struct HandlerSet {
    commands: CustomCommands,
    by_id: Vec<Arc<dyn RequestHandler>>,
    error: Option<String>,
    /// The time that a handler has to answer.
    pub(super) deadline: Duration,
}

impl HandlerSet {
    /// Adds a command or verb; an error is kept for [`HandlerSet::build`].
    pub(super) fn add(
        &mut self,
        kind: CustomKind,
        name: &str,
        access: Access,
        handler: Arc<dyn RequestHandler>,
    ) {
        match self.commands.add(kind, name, access) {
            Ok(_) => self.by_id.push(handler),
            Err(why) => {
                let kind = if kind == CustomKind::Verb { "verb" } else { "command" };
                self.error.get_or_insert(format!("the {kind} {name:?} {why}"));
            }
        }
    }

    /// All handlers, or the first error.
    pub(super) fn build(self) -> Result<Handlers, StartError> {
        match self.error {
            Some(error) => Err(StartError::of_configuration(error)),
            None => {
                Ok(Handlers { commands: Arc::new(self.commands), by_id: self.by_id, deadline: self.deadline })
            }
        }
    }
}

impl Default for HandlerSet {
    fn default() -> HandlerSet {
        HandlerSet {
            commands: CustomCommands::default(),
            by_id: Vec::new(),
            error: None,
            deadline: limits::HANDLER_DEADLINE,
        }
    }
}
