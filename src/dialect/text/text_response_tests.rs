//! Replies of the dialect, byte for byte.

use super::*;
use crate::dialect;
use crate::ids::SeriesId;
use crate::model::{Caller, CommandName, Cursor, Dialect, Listing, MetricValue, PointFilter, Query, Series};

fn encode(answer: &Answer, count: usize) -> String {
    let mut output = b"before ".to_vec();
    dialect::encode_lines(answer, count, &mut output);
    String::from_utf8(output).unwrap().strip_prefix("before ").expect("it only appends").to_string()
}

#[test]
fn each_point_has_its_reply() {
    let (ok, full) = ("ok\n\n", "error\nkey limit reached\n\n");
    for (count, refused, wanted) in [
        (1, vec![], vec![ok]),
        (1, vec![0], vec![full]),
        (3, vec![], vec![ok, ok, ok]),
        (3, vec![1], vec![ok, full, ok]),
        (4, vec![0, 2, 3], vec![full, ok, full, full]),
    ] {
        assert_eq!(encode(&Answer::Put { refused }, count), wanted.concat());
    }
}

#[test]
fn every_failure_has_its_message() {
    for (failure, words) in [
        (Failure::UnknownTextCommand, "wrong command"),
        (Failure::JsonLine, "wrong command: this connection speaks metrics text; open a new one for JSON"),
        (Failure::LineTooLong, "line too long"),
        (Failure::BadText, "a line must be UTF-8 without control characters"),
        (Failure::UnexpectedEnd, "the input ended inside a line"),
        (Failure::TimedOut, "the line did not end in time"),
        (Failure::AuthenticationRequired, "authentication required"),
        (Failure::Busy, "busy"),
        (Failure::StoreUnavailable, "store unavailable"),
        (Failure::OutcomeUnknown, "outcome unknown"),
        (Failure::KeyLimitReached(None), "key limit reached"),
        (Failure::Internal, "internal error"),
    ] {
        let (failed, reply) = (Answer::Failed(failure), format!("error\n{words}\n\n"));
        assert_eq!(encode(&failed, 1), reply);
        assert_eq!(encode(&failed, 3), reply.repeat(3), "whoever waits for three replies gets three");
    }
}

fn series(id: i64, key: &str, points: &[(i64, f64)]) -> Series {
    let point =
        |&(second, value)| Point { timestamp: second, value: MetricValue::new(value).expect("it is finite") };
    Series { id: SeriesId(id), key: MetricKey::from_store(key), points: points.iter().map(point).collect() }
}

fn pages(pages: Vec<Vec<Series>>) -> String {
    let (mut output, mut progress, count) = (Vec::new(), PageProgress::default(), pages.len());
    for (index, series) in pages.into_iter().enumerate() {
        let next = (index + 1 < count).then_some(Cursor::AfterPoint { series: SeriesId(1), timestamp: 1 });
        let page = Page {
            listing: Listing {
                command: CommandName::Get,
                query: Query::Points(PointFilter::default()),
                caller: Caller::default(),
            },
            items: Items::Points(series),
            next,
        };
        dialect::encode_page(Dialect::Text, None, &page, &mut progress, &mut output);
    }
    String::from_utf8(output).unwrap()
}

#[test]
fn points_are_lines_page_by_page() {
    assert_eq!(pages(vec![vec![]]), "ok\n\n");
    assert_eq!(pages(vec![vec![], vec![]]), "ok\n\n");
    let palm = series(1, "palm.cpu", &[(1_501_864_247, 10.5), (1_501_864_248, 1e300)]);
    let eardrum = series(2, "ключ", &[(-5, -0.0)]);
    let wanted = "ok\npalm.cpu 10.5 1501864247\npalm.cpu 1e300 1501864248\nключ -0.0 -5\n\n";
    assert_eq!(pages(vec![vec![palm.clone(), eardrum.clone()]]), wanted);
    assert_eq!(pages(vec![vec![palm.clone()], vec![eardrum.clone()]]), wanted);
    let (first, mut second) = (series(1, "palm.cpu", &[(1_501_864_247, 10.5)]), palm);
    second.points.remove(0);
    assert_eq!(pages(vec![vec![first], vec![second, eardrum], vec![]]), wanted);
}
