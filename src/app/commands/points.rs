//! Storing points: `put`.

use std::sync::Arc;

use super::{App, Context, Continue, Next, Resume, StageInfo, Subject};
use crate::limits;
use crate::model::{Answer, Failure, Login, Principal, Put};
use crate::store::{Write, Written};
use crate::work::{Work, WorkResult, WrongResult};

/// Points are stored.
#[derive(Debug)]
pub struct Stage {
    /// The number of points.
    pub(in crate::app) count: usize,
    /// The login that the right to put depends on, if any.
    login: Option<Login>,
}

/// Points put by clients since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PointCounters {
    /// Stored.
    pub put: u64,
    /// Refused, because their key would have exceeded the limit.
    pub refused: u64,
}

pub(super) fn put(context: Context, put: Put) -> Next<Stage> {
    let Put { mut points, undated, is_atomic } = put;
    for index in undated {
        if let Some(new) = points.get_mut(index) {
            new.point.timestamp = context.now.0;
        }
    }
    let login = match context.principal {
        Principal::Vm(login) if context.is_own => Some(login),
        _ => None,
    };
    let stage = Stage { count: points.len(), login: login.clone() };
    let (points, keys_max) = (Arc::new(points), limits::METRIC_KEYS_MAX);
    Next::Work { work: Work::Write(Write::Put { login, points, keys_max, is_atomic }), stage }
}

impl App {
    /// The failure of a put of `count` points, none of which was stored because the key at `index` exceeds the limit.
    pub(in crate::app) fn key_limit_failure(&mut self, count: usize, index: usize) -> Failure {
        self.points.refused += count as u64;
        Failure::KeyLimitReached((count > 1).then_some(index))
    }
}

impl StageInfo for Stage {
    fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    fn subject(&self) -> Subject {
        Subject::None
    }
}

impl Continue for Stage {
    fn resume(self, at: Resume<'_>, result: WorkResult) -> Result<Next<Stage>, WrongResult> {
        let app = at.app;
        let Written::Put { refused } = result.written()? else { return Err(WrongResult) };
        app.points.put += (self.count - refused.len().min(self.count)) as u64;
        app.points.refused += refused.len() as u64;
        Ok(Next::Answer(Answer::Put { refused }))
    }
}
