//! Storing points: `put`.

use std::sync::Arc;

use super::{App, Context, Continue, Next, Noted, Resume, StageInfo, Subject};
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
    /// What clients are told that watch points.
    noted: Noted,
}

/// Points put by clients since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PointCounters {
    /// Stored.
    pub put: u64,
    /// Refused, because their key would have exceeded the limit.
    pub refused: u64,
}

impl App {
    pub(super) fn put(&self, context: Context, put: Put) -> Next<Stage> {
        let Put { mut points, undated, is_atomic } = put;
        for index in undated {
            if let Some(new) = points.get_mut(index) {
                new.point.timestamp = context.now.0;
            }
        }
        let vm = match context.principal {
            Principal::Vm(login) => Some(login),
            _ => None,
        };
        let (count, points, keys_max) = (points.len(), Arc::new(points), limits::METRIC_KEYS_MAX);
        // A watch may begin before they are stored.
        let noted = Noted::Points(vm.as_ref().map(|login| login.name.clone()), Arc::clone(&points));
        let login = vm.filter(|_| context.is_own);
        let stage = Stage { count, login: login.clone(), noted };
        Next::Work { work: Work::Write(Write::Put { login, points, keys_max, is_atomic }), stage }
    }

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

    fn noted(&self) -> Option<Noted> {
        Some(self.noted.clone())
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
