//! Points: `put` and `get`.

use std::fmt;

use super::family::{CommandSpec, ObjectList, write_done};
use crate::dialect::fields::{AllowedFields, Excerpt, FieldNames, JsonFields, JsonPath, read_string};
use crate::dialect::json_writer::{write_json, write_raw};
use crate::dialect::number::{read_integer, read_timestamp, read_value, write_timestamp, write_value};
use crate::dialect::page_progress::PageProgress;
use crate::limits;
use crate::model::{
    Answer, BadField, Command, CommandName, Failure, Items, KeyError, MetricKey, MetricValue, NewPoint, Page,
    Point, PointFilter, Put, Series,
};

pub(super) static COMMANDS: [CommandSpec; 2] = [
    CommandSpec::new(
        CommandName::Put,
        &["key", "value", "timestamp", "points", "token"],
        FieldNames::new(&KEYS),
        read_put,
    ),
    CommandSpec::new(CommandName::Get, &["key", "from", "to", "token"], FieldNames::new(&KEYS), read_get),
];

/// The fields of both.
const KEYS: [&str; 7] = ["key", "value", "timestamp", "points", "from", "to", "token"];

/// The fields of a point.
const POINT_KEYS: [&str; 3] = ["key", "value", "timestamp"];

const POINTS: ObjectList = ObjectList {
    name: "points",
    counts: 1..=limits::POINTS_PER_REQUEST_MAX,
    shape: r#"{"key": TEXT, "value": NUMBER, "timestamp": SECONDS}"#,
    known: FieldNames::new(&POINT_KEYS),
};

const POINT_FIELDS: AllowedFields = POINTS.known.allow(&POINT_KEYS);

fn read_put(data: &JsonFields<'_>) -> Result<Command, Failure> {
    let points = match data.value("points") {
        None => vec![read_point(JsonPath::Root, data)?],
        Some(_) if POINT_KEYS.iter().any(|name| data.value(name).is_some()) => {
            return Err(BadField(BOTH.into()).into());
        }
        Some(list) => POINTS.read(list, |path, fields| {
            fields.check_unknown(POINT_FIELDS)?;
            read_point(path, fields)
        })?,
    };
    let undated = points.iter().enumerate().filter(|(_, (_, is_dated))| !is_dated);
    let undated = undated.map(|(index, _)| index).collect();
    let points = points.into_iter().map(|(point, _)| point).collect();
    Ok(Command::Put(Put { points, undated, is_atomic: true }))
}

fn read_get(data: &JsonFields<'_>) -> Result<Command, Failure> {
    data.check_missing(&["key"])?;
    let key = read_key(JsonPath::Root, data.value_or_null("key"))?;
    let bound = |name| data.value(name).map(|value| read_bound(name, value)).transpose();
    let key = Some(key).filter(|key| key.as_str() != ALL);
    Ok(Command::Get(PointFilter { key, from: bound("from")?, to: bound("to")?, ..PointFilter::default() }))
}

/// Reads the point in `fields`, and whether it has a timestamp.
fn read_point(path: JsonPath, fields: &JsonFields<'_>) -> Result<(NewPoint, bool), BadField> {
    fields.check_missing(&["key", "value"])?;
    let key = read_key(path, fields.value_or_null("key"))?;
    let value = read_number(path, fields.value_or_null("value"))?;
    let timestamp = fields.value("timestamp").map(|text| read_time(path, text)).transpose()?;
    Ok((NewPoint { key, point: Point { timestamp: timestamp.unwrap_or(0), value } }, timestamp.is_some()))
}

fn read_key(path: JsonPath, value: &str) -> Result<MetricKey, BadField> {
    let bad =
        |was: &dyn fmt::Display| path.invalid("key", was, format_args!("a string of {}", KeyError::ALLOWED));
    let text = read_string(value, bad)?;
    MetricKey::parse(&text).map_err(|error| match error {
        KeyError::Length(bytes) => bad(&format_args!("a string of {bytes} bytes")),
        KeyError::Character(_) => bad(&Excerpt(value)),
    })
}

fn read_number(path: JsonPath, value: &str) -> Result<MetricValue, BadField> {
    // A string starts with a quote and so does not parse as a number.
    read_value(value.as_bytes())
        .ok_or_else(|| path.invalid("value", Excerpt(value), "a number that a 64-bit float can hold"))
}

fn read_time(path: JsonPath, value: &str) -> Result<i64, BadField> {
    let allowed = limits::POINT_TIMESTAMPS;
    let allowed = || format!("an integer from {} to {} (seconds since 1970)", allowed.start(), allowed.end());
    read_timestamp(value.as_bytes()).map_err(|_| path.invalid("timestamp", Excerpt(value), allowed()))
}

/// Bounds are not limited to the valid range of timestamps, so that points are found that were stored before that
/// range was enforced.
fn read_bound(name: &str, value: &str) -> Result<i64, BadField> {
    read_integer(value.as_bytes()).ok_or_else(|| {
        JsonPath::Root.invalid(name, Excerpt(value), "an integer of 64 bits (seconds since 1970)")
    })
}

/// Writes the status, the message and the data of an answer; returns false if no command here has it.
pub(super) fn write_answer(answer: &Answer, output: &mut Vec<u8>) -> bool {
    let Answer::Put { refused } = answer else { return false };
    debug_assert!(refused.is_empty(), "points of this dialect are kept all or none");
    write_done("ok", output);
    true
}

/// Writes one page of points.
pub(super) fn write_page(page: &Page, progress: &mut PageProgress, output: &mut Vec<u8>) {
    match &page.items {
        Items::Points(series) => write_series(series, progress, output),
        other => debug_assert!(false, "{other:?} are no points"),
    }
    if page.next.is_none() {
        end_series(progress, output);
    }
}

/// Writes the key of each series and a list of pairs.
fn write_series(series: &[Series], progress: &mut PageProgress, output: &mut Vec<u8>) {
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
            write_timestamp(point.timestamp, output);
            write_raw(output, ",");
            write_value(point.value, output);
            write_raw(output, "]");
        }
        (progress.series, progress.has_items) = (Some(of_series.id), true);
    }
}

/// Ends the current series, if any.
fn end_series(progress: &mut PageProgress, output: &mut Vec<u8>) {
    if progress.series.take().is_some() {
        write_raw(output, "]");
    }
}

/// The key that selects every series.
const ALL: &str = "*";

const BOTH: &str = "points: it must not stand beside key, value or timestamp";

#[cfg(test)]
#[path = "points_tests.rs"]
mod tests;
