//! Tables for people. A table that is wider than the terminal wraps its longest columns; nothing is cut off. Where even
//! that does not fit, each row becomes lines of headings and values.

use std::io::{self, Write};

use super::cell::for_people;
use super::text::{width, wrap};
use super::{Kind, Output, Shape, Style};

/// Writes a table of the selected columns.
pub fn write(output: &Output, selected: &[usize], style: &Style, writer: &mut impl Write) -> io::Result<()> {
    let columns = output.schema.columns;
    let cells = |row: &Vec<serde_json::Value>| -> Vec<String> {
        selected.iter().map(|index| for_people(columns[*index].kind, &row[*index])).collect()
    };
    let headings: Vec<&str> = selected.iter().map(|index| columns[*index].heading).collect();
    let rows: Vec<Vec<String>> = output.rows.iter().map(cells).collect();
    if output.schema.shape == Shape::Record {
        return rows.iter().try_for_each(|row| write_lines(&headings, row, style, writer));
    }
    let Some(widths) = fit(&headings, &rows, style.width) else {
        for (index, row) in rows.iter().enumerate() {
            if index > 0 {
                writeln!(writer)?;
            }
            write_lines(&headings, row, style, writer)?;
        }
        return Ok(());
    };
    let is_number = |index: &usize| {
        !matches!(columns[*index].kind, Kind::Text | Kind::Disks | Kind::Addresses | Kind::Json)
    };
    let are_numbers: Vec<bool> = selected.iter().map(is_number).collect();
    let (bold, plain) = if style.is_bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let headings = headings.iter().map(|heading| (*heading).to_owned()).collect::<Vec<_>>();
    write_row(&headings, &widths, &are_numbers, (bold, plain), writer)?;
    rows.iter().try_for_each(|row| write_row(row, &widths, &are_numbers, ("", ""), writer))
}

/// The widths of the columns; `None` if the table can't be made to fit.
fn fit(headings: &[&str], rows: &[Vec<String>], columns_max: Option<usize>) -> Option<Vec<usize>> {
    let natural = |index: usize| {
        let cells = rows.iter().map(|row| width(&row[index]));
        cells.chain([width(headings[index])]).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..headings.len()).map(natural).collect();
    let Some(columns_max) = columns_max else { return Some(widths) };
    let available = columns_max.checked_sub(GAP * headings.len().saturating_sub(1))?;
    // The narrowest that still reads well: the heading, or a short word.
    let least = |index: usize| natural(index).min(width(headings[index]).max(COLUMN_LEAST));
    loop {
        let excess = widths.iter().sum::<usize>().saturating_sub(available);
        if excess == 0 {
            return Some(widths);
        }
        let widest = (0..widths.len())
            .filter(|index| widths[*index] > least(*index))
            .max_by_key(|index| widths[*index])?;
        // Down to the next in width, so that long columns share what there is.
        let next = widths.iter().copied().filter(|width| *width < widths[widest]).max().unwrap_or(0);
        let reduced = (widths[widest] - excess.min(widths[widest])).max(next);
        widths[widest] = reduced.max(least(widest)).min(widths[widest] - 1);
    }
}

fn write_row(
    cells: &[String],
    widths: &[usize],
    are_numbers: &[bool],
    (begin, end): (&str, &str),
    writer: &mut impl Write,
) -> io::Result<()> {
    let wrapped: Vec<Vec<String>> =
        cells.iter().zip(widths).map(|(cell, width)| wrap(cell, (*width).max(2))).collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or(0);
    for line in 0..height {
        let mut text = String::new();
        for (index, parts) in wrapped.iter().enumerate() {
            let part = parts.get(line).map_or("", String::as_str);
            let padding = " ".repeat(widths[index].saturating_sub(width(part)));
            let (before, after) = if are_numbers[index] { (&*padding, "") } else { ("", &*padding) };
            text.push_str(&format!("{before}{part}{after}{}", " ".repeat(GAP)));
        }
        writeln!(writer, "{begin}{}{end}", text.trim_end())?;
    }
    Ok(())
}

/// A heading and a value a line.
fn write_lines(headings: &[&str], row: &[String], style: &Style, writer: &mut impl Write) -> io::Result<()> {
    let heading_width = headings.iter().map(|heading| width(heading)).max().unwrap_or(0);
    let (bold, plain) = if style.is_bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let rest =
        style.width.map_or(usize::MAX, |all| all.saturating_sub(heading_width + GAP).max(COLUMN_LEAST));
    for (heading, cell) in headings.iter().zip(row) {
        for (index, part) in wrap(cell, rest).iter().enumerate() {
            let heading = if index == 0 { heading } else { "" };
            let line = format!("{bold}{heading:heading_width$}{plain}{}{part}", " ".repeat(GAP));
            writeln!(writer, "{}", line.trim_end())?;
        }
    }
    Ok(())
}

/// Columns between two columns.
const GAP: usize = 2;
/// A column is not made narrower than this to fit.
const COLUMN_LEAST: usize = 8;
