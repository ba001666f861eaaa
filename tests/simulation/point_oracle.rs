//! Checks the replies to puts and gets of points.

use serde_json::{Value, json};

use super::codec::point_lines;
use super::point_model::{Batch, PointQuery, ReportedPoint, ReportedValue, Requester};
use super::reply_context::ReplyContext;
use super::response::{Outcome, Response};
use super::verification::{Verification, ensure};

impl ReplyContext<'_> {
    /// Whether `response` is a possible answer to a put.
    pub(super) fn check_put(&self, batch: Batch, response: &Response) -> Verification {
        if let Some(bad) = batch.bad {
            let names_point = response.message().contains(&format!("points[{bad}]"));
            return ensure(names_point && response.outcome != Outcome::Success, "a bad point is accepted");
        }
        if response.outcome == Outcome::Other && response.message().starts_with("key limit reached") {
            return ensure(self.point_model.keys_ever() > self.config.keys_max, "refused for too many keys");
        }
        ensure(response.outcome == Outcome::Success, "not put")?;
        match &response.data {
            Value::String(lines) => ensure(lines.is_empty(), "points in the reply to a put"),
            data => ensure(response.message() == "ok" && *data == json!({}), "another reply than to a put"),
        }
    }

    /// Whether `response` is a possible answer to a get.
    pub(super) fn check_get(&self, query: &PointQuery, response: &Response) -> Verification {
        ensure(response.outcome == Outcome::Success, "no points")?;
        let reported = match &response.data {
            Value::String(lines) => read_lines(lines)?,
            data => read_series(data)?,
        };
        if response.data.is_string() {
            // JSON objects that were read have lost the order of their fields.
            self.point_model.check_order(&reported)?;
        }
        let requester = Requester { client: self.client, is_in_turn: self.is_in_turn };
        self.point_model.check(query, (requester, self.logical_time), &reported, (self.wall_clock, self.now))
    }
}

/// Reads points in lines.
pub(super) fn read_lines(lines: &str) -> Result<Vec<ReportedPoint<'_>>, String> {
    Ok(point_lines(lines)?.into_iter().map(ReportedPoint::from).collect())
}

/// Reads points in the data of a JSON reply.
fn read_series(data: &Value) -> Result<Vec<ReportedPoint<'_>>, String> {
    let mut reported = Vec::new();
    for (key, points) in data.as_object().ok_or("no series")? {
        let points = points.as_array().filter(|points| !points.is_empty()).ok_or("a key without points")?;
        for point in points {
            let pair = point.as_array().filter(|pair| pair.len() == 2).ok_or("no pair")?;
            let second = pair[0].as_i64().ok_or("a timestamp that is no integer")?;
            let value = pair[1].as_f64().filter(|_| pair[1].is_f64()).ok_or("a value that is no float")?;
            reported.push(ReportedPoint { key, second, value: ReportedValue::Number(value) });
        }
    }
    Ok(reported)
}
