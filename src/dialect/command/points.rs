//! `put` and `get`: points in requests and replies.

use std::fmt;

use crate::dialect::PageProgress;
use crate::dialect::fields::{
    Excerpt, FieldNames, JsonFields, JsonPath, for_each_element, is_object, read_string,
};
use crate::dialect::json_writer::{write_json, write_raw};
use crate::dialect::number::{read_integer, read_timestamp, read_value, write_integer, write_value};
use crate::limits;
use crate::model::{
    BadField, Command, Failure, KeyError, MetricKey, MetricValue, NewPoint, Point, PointFilter, Put, Series,
};

/// The fields that the data of `put` may have.
pub(super) const PUT_FIELDS: [&str; 5] = ["key", "value", "timestamp", "points", "token"];

/// The fields that the data of `get` may have.
pub(super) const GET_FIELDS: [&str; 4] = ["key", "from", "to", "token"];

/// The fields of both.
pub(super) const KEYS: [&str; 7] = ["key", "value", "timestamp", "points", "from", "to", "token"];

/// The fields of a point.
const POINT_KEYS: [&str; 3] = ["key", "value", "timestamp"];

pub(super) fn put(data: &JsonFields<'_>) -> Result<Command, Failure> {
    let points = match data.value("points") {
        None => point(JsonPath::Root, data).map(|point| vec![point]),
        Some(_) if POINT_KEYS.iter().any(|name| data.value(name).is_some()) => Err(BadField(BOTH.into())),
        Some(list) => points(list),
    };
    let points = points.map_err(Failure::BadField)?;
    let undated = points.iter().enumerate().filter(|(_, (_, is_dated))| !is_dated);
    let undated = undated.map(|(index, _)| index).collect();
    let points = points.into_iter().map(|(point, _)| point).collect();
    Ok(Command::Put(Put { points, undated, is_atomic: true }))
}

pub(super) fn get(data: &JsonFields<'_>) -> Result<Command, Failure> {
    read_filter(data).map(Command::Get).map_err(Failure::BadField)
}

fn read_filter(data: &JsonFields<'_>) -> Result<PointFilter, BadField> {
    data.check_missing(&["key"])?;
    let key = Some(key(JsonPath::Root, data.value_or_null("key"))?).filter(|key| key.as_str() != ALL);
    let bound = |name| data.value(name).map(|value| bound(name, value)).transpose();
    Ok(PointFilter { key, from: bound("from")?, to: bound("to")? })
}

/// The points of a list, and whether each has a timestamp.
fn points(list: &str) -> Result<Vec<(NewPoint, bool)>, BadField> {
    let max = limits::POINTS_PER_REQUEST_MAX;
    let bad = |was: &dyn fmt::Display| {
        JsonPath::Root.invalid("points", was, format_args!("a list of 1 to {max} objects {SHAPE}"))
    };
    if !list.starts_with('[') {
        return Err(bad(&Excerpt(list)));
    }
    let (mut points, mut first_bad, mut count) = (Vec::new(), None, 0);
    let walk = for_each_element(list, |index, element| {
        count = index + 1;
        // After an error or the limit, the rest is only counted.
        if first_bad.is_none() && count <= max {
            match entry(index, element) {
                Ok(point) => points.push(point),
                Err(bad_field) => first_bad = Some(bad_field),
            }
        }
    });
    walk.map_err(|_| bad(&Excerpt(list)))?;
    if count == 0 || count > max {
        return Err(bad(&format_args!("a list of {count}")));
    }
    first_bad.map_or(Ok(points), Err)
}

fn entry(index: usize, element: &str) -> Result<(NewPoint, bool), BadField> {
    let path = JsonPath::Point(index);
    let no_object = || {
        let was = Excerpt(element);
        BadField(format!("points[{index}]: {was} is not allowed; it must be an object {SHAPE}"))
    };
    if !is_object(element) {
        return Err(no_object());
    }
    let fields = JsonFields::read(path, element, FieldNames::new(&POINT_KEYS)).map_err(|_| no_object())?;
    fields.check_repeated()?;
    fields.check_unknown(&POINT_KEYS)?;
    point(path, &fields)
}

/// The point in `fields`, and whether it has a timestamp.
fn point(path: JsonPath, fields: &JsonFields<'_>) -> Result<(NewPoint, bool), BadField> {
    fields.check_missing(&["key", "value"])?;
    let key = key(path, fields.value_or_null("key"))?;
    let value = number(path, fields.value_or_null("value"))?;
    let timestamp = fields.value("timestamp").map(|text| timestamp(path, text)).transpose()?;
    Ok((NewPoint { key, point: Point { timestamp: timestamp.unwrap_or(0), value } }, timestamp.is_some()))
}

fn key(path: JsonPath, value: &str) -> Result<MetricKey, BadField> {
    let bad =
        |was: &dyn fmt::Display| path.invalid("key", was, format_args!("a string of {}", KeyError::ALLOWED));
    let text = read_string(value, bad)?;
    MetricKey::parse(&text).map_err(|error| match error {
        KeyError::Length(bytes) => bad(&format_args!("a string of {bytes} bytes")),
        KeyError::Character(_) => bad(&Excerpt(value)),
    })
}

fn number(path: JsonPath, value: &str) -> Result<MetricValue, BadField> {
    // A string starts with a quote and so does not parse as a number.
    read_value(value.as_bytes())
        .ok_or_else(|| path.invalid("value", Excerpt(value), "a number that a 64-bit float can hold"))
}

fn timestamp(path: JsonPath, value: &str) -> Result<i64, BadField> {
    let allowed = limits::POINT_TIMESTAMPS;
    let allowed = || format!("an integer from {} to {} (seconds since 1970)", allowed.start(), allowed.end());
    read_timestamp(value.as_bytes()).map_err(|_| path.invalid("timestamp", Excerpt(value), allowed()))
}

/// Bounds are not limited to the valid range of timestamps, so that points are found that were stored before that
/// range was enforced.
fn bound(name: &str, value: &str) -> Result<i64, BadField> {
    read_integer(value.as_bytes()).ok_or_else(|| {
        JsonPath::Root.invalid(name, Excerpt(value), "an integer of 64 bits (seconds since 1970)")
    })
}

/// Writes a page of points: the key of each series and a list of pairs.
pub(super) fn encode(series: &[Series], progress: &mut PageProgress, output: &mut Vec<u8>) {
    for of_series in series.iter().filter(|of_series| !of_series.points.is_empty()) {
        if progress.series != Some(of_series.id) {
            end_series(progress, output);
            write_raw(output, if progress.has_items { "," } else { "" });
            write_json(output, of_series.key.as_str());
            write_raw(output, ":[");
        }
        for (index, point) in of_series.points.iter().enumerate() {
            let is_first = index == 0 && progress.series != Some(of_series.id);
            write_raw(output, if is_first { "[" } else { ",[" });
            write_integer(point.timestamp, output);
            write_raw(output, ",");
            write_value(point.value, output);
            write_raw(output, "]");
        }
        (progress.series, progress.has_items) = (Some(of_series.id), true);
    }
}

/// Ends the current series, if any.
pub(super) fn end_series(progress: &mut PageProgress, output: &mut Vec<u8>) {
    if progress.series.take().is_some() {
        write_raw(output, "]");
    }
}

/// The key that selects every series.
const ALL: &str = "*";

const SHAPE: &str = r#"{"key": TEXT, "value": NUMBER, "timestamp": SECONDS}"#;

const BOTH: &str = "points: it must not stand beside key, value or timestamp";

#[cfg(test)]
#[path = "points_tests.rs"]
mod tests;
