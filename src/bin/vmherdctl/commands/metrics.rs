//! Metrics: `metrics put`, `metrics get`, `metrics plot`.

use std::time::Duration;

use clap::{Arg, ArgMatches};
use serde_json::{Number, Value};
use vmherd::client::{Point, PointsByKey};

use crate::arguments::{option, positional, time};
use crate::failure::{Class, Failure};
use crate::input::read_input;
use crate::limits;
use crate::output::{Column, Kind, Output, Schema, Shape};
use crate::plot;
use crate::session::Session;
use crate::time::parse_time;

pub static STORED: Schema = Schema {
    name: "stored",
    shape: Shape::Record,
    columns: &[Column::new("points", "POINTS", Kind::Number)],
};

pub static POINTS: Schema = Schema {
    name: "points",
    shape: Shape::Rows,
    columns: &[
        Column::new("key", "KEY", Kind::Text),
        Column::new("timestamp", "TIME", Kind::Time),
        Column::new("value", "VALUE", Kind::Number),
    ],
};

pub fn put_arguments() -> Vec<Arg> {
    vec![
        positional("key", "KEY", "Without it: lines KEY VALUE [TIME] on standard input").requires("value"),
        positional("value", "VALUE", "A number")
            .value_parser(clap::builder::ValueParser::new(parse_value))
            .allow_negative_numbers(true),
        positional("time", "TIME", "Seconds since 1970, or -1h [default: now]")
            .value_parser(time())
            .allow_hyphen_values(true),
    ]
}

pub fn put(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let points = match (matches.get_one::<String>("key"), matches.get_one::<f64>("value")) {
        (Some(key), Some(value)) => {
            let timestamp = matches.get_one::<i64>("time").copied();
            vec![Point { key: key.clone(), value: *value, timestamp }]
        }
        _ => parse_lines(&read_input("points")?)?,
    };
    let count = points.len();
    // Each point may be answered for itself only; the errors of the library say which were stored.
    let result = session.call_within(put_timeout(count), |client| Ok(client.put_many(&points)))?;
    let stored = match &result {
        Ok(()) => count,
        Err(error) => error.stored.iter().map(ExactSizeIterator::len).sum(),
    };
    let output =
        Output::record(&STORED, vec![stored.into()]).note(format!("stored {stored} of {count} points"));
    match result {
        Ok(()) => Ok(output),
        Err(error) => {
            let (message, failed) = (error.to_string(), error.failed.start);
            let mut failure = Failure::from(error.error);
            if count > 1 {
                failure.message = match stored {
                    0 => format!("line {}: {}", failed + 1, failure.message),
                    _ => message,
                };
            }
            if stored > 0 {
                failure.class = Class::Partial;
                failure = failure.with_output(output);
            }
            Err(failure)
        }
    }
}

/// The time for so many points, which are sent as one call.
fn put_timeout(count: usize) -> Duration {
    limits::TIMEOUT + limits::PUT_TIME_PER_POINT * u32::try_from(count).unwrap_or(u32::MAX)
}

/// Points as lines `KEY VALUE [TIME]`; `put` before them is allowed, as in the text protocol.
fn parse_lines(text: &str) -> Result<Vec<Point>, Failure> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parse = |(index, line): (usize, &str)| {
        let wrong = |why: String| Failure::usage(format!("line {}: {why}", index + 1));
        let words: Vec<&str> = line.split_whitespace().collect();
        let words = if words[0] == "put" && words.len() == 4 { &words[1..] } else { &words[..] };
        let (key, value, timestamp) = match *words {
            [key, value] => (key, value, None),
            [key, value, time] => (key, value, Some(parse_time(time).map_err(wrong)?)),
            _ => return Err(wrong("a line is KEY VALUE [TIME]".into())),
        };
        Ok(Point { key: key.to_owned(), value: parse_value(value).map_err(wrong)?, timestamp })
    };
    let points = lines.map(parse).collect::<Result<Vec<Point>, Failure>>()?;
    if points.is_empty() { Err(Failure::usage("there are no points on standard input")) } else { Ok(points) }
}

fn parse_value(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value: &f64| value.is_finite());
    value.ok_or_else(|| "a value is a number".into())
}

pub fn get_arguments() -> Vec<Arg> {
    let bound = |name, help| option(name, "TIME", help).value_parser(time()).allow_hyphen_values(true);
    vec![
        positional("key", "KEY", "The key; *: all").default_value("*"),
        bound("from", "From then on: seconds since 1970, or -1h"),
        bound("to", "Up to this time"),
    ]
}

pub fn get(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    Ok(rows(&fetch(session, matches)?))
}

pub fn plot_arguments() -> Vec<Arg> {
    let height = option("height", "LINES", "The lines of a drawing")
        .default_value("10")
        .value_parser(clap::value_parser!(u16).range(1..=200));
    [get_arguments(), vec![height]].concat()
}

pub fn plot(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let series = fetch(session, matches)?;
    if series.values().all(Vec::is_empty) {
        return Err(Failure::not_found("there are no points to draw"));
    }
    let height = matches.get_one::<u16>("height").copied().unwrap_or(1);
    let mut lines = Vec::new();
    for (key, points) in &series {
        lines.extend(plot::draw(key, points, session.columns, height.into()));
    }
    Ok(rows(&series).lines(lines))
}

fn fetch(session: &mut Session, matches: &ArgMatches) -> Result<PointsByKey, Failure> {
    let key = matches.get_one::<String>("key").map_or("*", String::as_str);
    let bound = |name| matches.get_one::<i64>(name).copied();
    session.call(|client| client.get_between(key, bound("from"), bound("to")))
}

fn rows(series: &PointsByKey) -> Output {
    let row = |key: &String, (timestamp, value): &(i64, f64)| {
        let value = Number::from_f64(*value).map_or(Value::Null, Value::Number);
        vec![key.clone().into(), (*timestamp).into(), value]
    };
    let rows = series.iter().flat_map(|(key, points)| points.iter().map(move |point| row(key, point)));
    Output::rows(&POINTS, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_points() {
        let points = parse_lines("a 1\n\nput b -2.5 1501864247\nput 3\nc 4 7\n").unwrap();
        let found: Vec<_> = points.iter().map(|point| (&*point.key, point.value, point.timestamp)).collect();
        assert_eq!(
            found,
            [("a", 1.0, None), ("b", -2.5, Some(1_501_864_247)), ("put", 3.0, None), ("c", 4.0, Some(7))]
        );
    }

    #[test]
    fn other_lines_are_named() {
        for (text, message) in [
            ("a 1\nb\n", "line 2: a line is KEY VALUE [TIME]"),
            ("a nan", "line 1: a value is a number"),
            ("a 1 2 3", "line 1: a line is KEY VALUE [TIME]"),
            ("\n", "there are no points on standard input"),
        ] {
            assert_eq!(parse_lines(text).unwrap_err().message, message);
        }
    }
}
