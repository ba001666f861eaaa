//! Metrics: keeping points, and telling them.

use std::sync::Arc;

use super::App;
use super::stage::{Next, Stage};
use crate::clock::UnixSeconds;
use crate::ids::ConnId;
use crate::limits;
use crate::model::{Answer, CommandName, Cursor, Failure, Login, PointFilter, Put};
use crate::store::{PointPosition, Write};
use crate::work::pages::PageRequest;
use crate::work::{Read, Work};

/// Points that clients wanted kept, as plain numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PointCounters {
    /// Kept, as the store promises.
    pub put: u64,
    /// Left out, because their key would have been one too many.
    pub refused: u64,
}

impl App {
    /// Begins to keep points; `login` is whose right to do so has to hold, if that hangs on one.
    pub(super) fn put(&mut self, put: Put, login: Option<Login>, now: UnixSeconds) -> Next {
        let Put { mut points, undated, is_atomic } = put;
        for place in undated {
            if let Some(new) = points.get_mut(place) {
                new.point.timestamp = now.0;
            }
        }
        let stage = Stage::Put { count: points.len(), login: login.clone() };
        let (points, keys_max) = (Arc::new(points), limits::METRIC_KEYS_MAX);
        Next::Work { work: Work::Write(Write::Put { login, points, keys_max, is_atomic }), stage }
    }

    /// So many points were put, but for those at the places `refused`.
    pub(super) fn has_put(&mut self, count: usize, refused: Vec<usize>) -> Next {
        self.points.put += (count - refused.len().min(count)) as u64;
        self.points.refused += refused.len() as u64;
        Next::Answer(Answer::Put { refused })
    }

    /// What a client is told of `count` points of which none was kept, since the one at the place `at` has a key too
    /// many.
    pub(super) fn failure_of_key_limit(&mut self, count: usize, at: usize) -> Failure {
        self.points.refused += count as u64;
        Failure::KeyLimitReached((count > 1).then_some(at))
    }

    /// Begins the page of the points that `filter` means at `cursor`, the first if there is none.
    pub(super) fn get(&mut self, conn: ConnId, filter: PointFilter, cursor: Option<Cursor>) -> Next {
        let Some(asker) = self.asker(conn, CommandName::Get) else {
            return Next::failed(Failure::AuthenticationRequired);
        };
        let after = match cursor {
            None => None,
            Some(Cursor::AfterPoint { series, timestamp: second }) => {
                Some(PointPosition { series, timestamp: second })
            }
            Some(_) => return Next::failed(Failure::Internal),
        };
        let page = PageRequest::Points { filter, after };
        let stage = Stage::List { command: CommandName::Get, login: asker.login().cloned() };
        Next::Work { work: Work::Read(Read::ListPage { asker, page }), stage }
    }
}
