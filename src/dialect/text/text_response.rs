//! From an [`Answer`] or a [`Page`] to lines.

use std::borrow::Cow;

use crate::dialect::PageProgress;
use crate::dialect::number::{write_integer, write_value};
use crate::model::{Answer, Failure, Items, MetricKey, Page, Point};

/// Writes the `count` replies to a request.
pub(in crate::dialect) fn encode_answer(answer: &Answer, count: usize, output: &mut Vec<u8>) {
    match answer {
        Answer::Put { refused } => {
            let mut refused = refused.iter().peekable();
            for index in 0..count {
                match refused.next_if(|&&refused| refused == index) {
                    Some(_) => error(&Failure::KeyLimitReached(None), output),
                    None => output.extend_from_slice(b"ok\n\n"),
                }
            }
        }
        Answer::Failed(failure) => (0..count).for_each(|_| error(failure, output)),
        other => {
            debug_assert!(false, "{other:?} is no answer to a line");
            (0..count).for_each(|_| error(&Failure::Internal, output));
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

fn error(failure: &Failure, output: &mut Vec<u8>) {
    output.extend_from_slice(b"error\n");
    output.extend_from_slice(message(failure).as_bytes());
    output.extend_from_slice(b"\n\n");
}

/// The message of a failure; those that no line causes are internal errors.
fn message(failure: &Failure) -> Cow<'static, str> {
    Cow::Borrowed(match failure {
        Failure::JsonLine => "wrong command: this connection speaks metrics text; open a new one for JSON",
        Failure::TimeOutOfRange => "timestamp out of range: seconds since 1970",
        Failure::BadText => "a line must be UTF-8 without control characters",
        Failure::UnexpectedEnd => "the input ended inside a line",
        Failure::TimedOut => "the line did not end in time",
        Failure::KeyLimitReached(_) => return Failure::KeyLimitReached(None).message(),
        Failure::UnknownTextCommand
        | Failure::LineTooLong
        | Failure::AuthenticationRequired
        | Failure::Busy
        | Failure::RequestMemoryFull
        | Failure::StoreUnavailable
        | Failure::OutcomeUnknown => return failure.message(),
        _ => return Failure::Internal.message(),
    })
}

#[cfg(test)]
#[path = "text_response_tests.rs"]
mod tests;
