//! From an [`Answer`] or a [`Page`] to lines.

use crate::dialect::PageProgress;
use crate::dialect::number::{write_integer, write_value};
use crate::model::{Answer, Failure, Items, MetricKey, Page, Point};

/// Writes the whole reply to a request that gets `count` of them.
pub(in crate::dialect) fn encode_answer(answer: &Answer, count: usize, output: &mut Vec<u8>) {
    match answer {
        Answer::Put { refused } => {
            let mut refused = refused.iter().peekable();
            for place in 0..count {
                match refused.next_if(|&&of_refused| of_refused == place) {
                    Some(_) => error(KEY_LIMIT_REACHED, output),
                    None => output.extend_from_slice(b"ok\n\n"),
                }
            }
        }
        Answer::Failed(failure) => {
            let words = message(failure);
            (0..count).for_each(|_| error(words, output));
        }
        other => {
            debug_assert!(false, "{other:?} is no answer to a line");
            (0..count).for_each(|_| error(INTERNAL_ERROR, output));
        }
    }
}

/// Writes one page of points.
pub(in crate::dialect) fn encode_page(page: &Page, progress: &mut PageProgress, output: &mut Vec<u8>) {
    if !progress.has_begun {
        progress.has_begun = true;
        output.extend_from_slice(b"ok\n");
    }
    match &page.items {
        Items::Points(series) => {
            for of_series in series {
                of_series.points.iter().for_each(|point| line(&of_series.key, *point, output));
            }
        }
        other => debug_assert!(false, "{other:?} are no points"),
    }
    if page.next.is_none() {
        output.push(b'\n');
    }
}

fn line(key: &MetricKey, point: Point, output: &mut Vec<u8>) {
    output.extend_from_slice(key.as_str().as_bytes());
    output.push(b' ');
    write_value(point.value, output);
    output.push(b' ');
    write_integer(point.timestamp, output);
    output.push(b'\n');
}

fn error(words: &str, output: &mut Vec<u8>) {
    output.extend_from_slice(b"error\n");
    output.extend_from_slice(words.as_bytes());
    output.extend_from_slice(b"\n\n");
}

/// What a failure is called.
fn message(failure: &Failure) -> &'static str {
    match failure {
        Failure::UnknownTextCommand => "wrong command",
        Failure::JsonLine => "wrong command: this connection speaks metrics text; open a new one for JSON",
        Failure::TimeOutOfRange => "timestamp out of range: seconds since 1970",
        Failure::LineTooLong => "line too long",
        Failure::BadText => "a line must be UTF-8 without control characters",
        Failure::UnexpectedEnd => "the input ended inside a line",
        Failure::TimedOut => "the line did not end in time",
        Failure::AuthenticationRequired => "authentication required",
        Failure::Busy => "busy",
        Failure::RequestMemoryFull => Failure::REQUEST_MEMORY_FULL,
        Failure::StoreUnavailable => "store unavailable",
        Failure::OutcomeUnknown => "outcome unknown",
        Failure::KeyLimitReached(_) => KEY_LIMIT_REACHED,
        // Nothing else comes of a line.
        _ => INTERNAL_ERROR,
    }
}

const KEY_LIMIT_REACHED: &str = "key limit reached";
const INTERNAL_ERROR: &str = "internal error";

#[cfg(test)]
#[path = "text_response_tests.rs"]
mod tests;
