//! The lines of a screen, made to fit it.

use vmherd::Escaped;

use super::TOP;
use super::herd::{Herd, Sort, Vm};
use crate::output::{Kind, fit_text, for_people, width};
use crate::time::unix_now;

/// What the user has chosen to see, and what they must know.
#[derive(Default)]
pub struct View {
    pub sort: Sort,
    /// The first row that is shown.
    pub first: usize,
    /// The rows that the last frame had room for.
    pub page: usize,
    /// Why the rows are old.
    pub error: Option<String>,
    pub is_bold: bool,
}

impl View {
    pub fn scroll(&mut self, rows: isize) {
        self.first = self.first.saturating_add_signed(rows);
    }
}

/// A line, which fits the screen.
pub struct Line {
    pub text: String,
    pub is_bold: bool,
}

/// The lines of a frame for a screen of so many columns and lines. Keeps the view within the rows.
pub fn lines(server: &str, herd: &Herd, view: &mut View, (columns, height): (usize, usize)) -> Vec<Line> {
    view.page = height.saturating_sub(HEAD_LINES).max(1);
    view.first = view.first.min(herd.vms.len().saturating_sub(view.page));
    let plain = |text: String| Line { text: fit_text(&text, columns), is_bold: false };
    let mut lines = vec![plain(server_line(server, herd)), plain(counts_line(herd))];
    lines.push(match &view.error {
        Some(error) => Line { is_bold: view.is_bold, ..plain(format!("trying again: {}", Escaped(error))) },
        None => plain(format!("by {}; q: quit, s: sort, arrows: scroll", view.sort.name())),
    });
    let now = unix_now();
    let shown = herd.vms.iter().skip(view.first).take(view.page);
    let rows: Vec<Vec<String>> = shown.map(|vm| cells(vm, now)).collect();
    let headings: Vec<String> = TOP.columns.iter().map(|column| column.heading.to_owned()).collect();
    let widths = fit(&headings, &rows, columns);
    lines.push(Line { is_bold: view.is_bold, ..plain(row(&headings, &widths)) });
    lines.extend(rows.iter().map(|cells| plain(row(cells, &widths))));
    lines.truncate(height);
    lines
}

fn server_line(server: &str, herd: &Herd) -> String {
    let mut text = Vec::new();
    if let Some(version) = &herd.version {
        text.push(format!("vmherd {}", Escaped(version)));
    }
    if let Some(uptime) = herd.uptime {
        text.push(format!("up {}", age(i64::try_from(uptime).unwrap_or(i64::MAX))));
    }
    // The address is last: it may be a long path.
    text.push(server.to_owned());
    text.join("  ")
}

fn counts_line(herd: &Herd) -> String {
    let online = herd.vms.iter().filter(|vm| vm.is_online).count();
    let mut text = format!("{} VMs, {online} online", herd.vms.len());
    if let Some(connections) = herd.connections {
        text.push_str(&format!(", {connections} connections"));
    }
    if let Some(rate) = herd.rate {
        text.push_str(&format!(", {rate:.1} requests/s"));
    }
    text
}

fn cells(vm: &Vm, now: i64) -> Vec<String> {
    let cell = |(column, value): (&crate::output::Column, &serde_json::Value)| match value.as_i64() {
        Some(since) if column.kind == Kind::Time => age(now.saturating_sub(since)),
        _ => for_people(column.kind, value),
    };
    TOP.columns.iter().zip(&vm.row).map(cell).collect()
}

/// The widths of the columns that fit. The disks give way first, then the name; then the last columns are left out.
fn fit(headings: &[String], rows: &[Vec<String>], columns: usize) -> Vec<usize> {
    let natural = |index: usize| {
        let cells = rows.iter().map(|row| width(&row[index]));
        cells.chain([width(&headings[index])]).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..headings.len()).map(natural).collect();
    let name = widths[0];
    let all = widths.iter().sum::<usize>() + GAP * (widths.len() - 1);
    if let Some(disks) = widths.last_mut() {
        *disks = disks.saturating_sub(all.saturating_sub(columns)).max(DISKS_LEAST.min(*disks));
    }
    loop {
        let others: usize = widths[1..].iter().map(|width| width + GAP).sum();
        let left = columns.saturating_sub(others);
        if left >= name.min(NAME_LEAST) || widths.len() == 1 {
            widths[0] = name.min(left);
            return widths;
        }
        widths.pop();
    }
}

fn row(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (index, (cell, columns)) in cells.iter().zip(widths).enumerate() {
        let cell = fit_text(cell, *columns);
        let padding = " ".repeat(columns - width(&cell));
        let is_number = matches!(TOP.columns[index].kind, Kind::Time | Kind::Memory | Kind::Number);
        let (before, after) = if is_number { (&*padding, "") } else { ("", &*padding) };
        text.push_str(&format!("{before}{cell}{after}{}", " ".repeat(GAP)));
    }
    text.truncate(text.trim_end().len());
    text
}

/// Seconds in the largest unit, and the next: `5s`, `3m 20s`, `2d 4h`.
fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Lines above the rows.
const HEAD_LINES: usize = 4;
/// Columns between two columns.
const GAP: usize = 2;
/// The name keeps this many columns, and loses other columns to do so.
const NAME_LEAST: usize = 12;
/// So do the disks, until they are left out.
const DISKS_LEAST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn herd(count: usize) -> Herd {
        let vm = |number: usize| Vm {
            is_online: number % 2 == 1,
            since: None,
            row: vec![
                format!("長\u{1b}[2J-{number:03}").into(),
                if number % 2 == 1 { "online" } else { "offline" }.into(),
                (unix_now() - 3700).into(),
                (1024 * (number + 1)).into(),
                2.into(),
                json!([{"id": 1, "disk_size": 100}, {"id": 2, "disk_size": 2048}]),
            ],
        };
        let vms = (0..count).map(vm).collect();
        Herd { vms, connections: Some(3), version: Some("0.1.0".into()), uptime: Some(200), rate: Some(1.5) }
    }

    fn texts(herd: &Herd, view: &mut View, size: (usize, usize)) -> Vec<String> {
        lines("unix:/a/path", herd, view, size).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn every_line_fits_every_screen() {
        let herd = herd(50);
        for columns in 1..120 {
            for height in [1, 3, 5, 24, 100] {
                let lines = texts(&herd, &mut View::default(), (columns, height));
                assert_eq!(lines.len(), height.min(54));
                assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:?}");
                assert!(!lines.concat().contains('\u{1b}'));
            }
        }
    }

    #[test]
    fn wide_screens_have_all_columns_and_narrow_ones_the_first() {
        let lines = texts(&herd(2), &mut View::default(), (80, 24));
        assert_eq!(lines[0], "vmherd 0.1.0  up 3m 20s  unix:/a/path");
        assert_eq!(lines[1], "2 VMs, 1 online, 3 connections, 1.5 requests/s");
        assert_eq!(lines[4], "長\\u001b[2J-000  offline  1h 1m   1G     2  1=100G 2=2T");
        let lines = texts(&herd(2), &mut View::default(), (40, 24));
        assert_eq!(lines[3], "NAME           STATE    SINCE  RAM  CPUS");
        let lines = texts(&herd(2), &mut View::default(), (24, 24));
        assert_eq!(lines[3], "NAME             STATE");
    }

    #[test]
    fn scrolling_ends_at_the_last_row() {
        let (herd, mut view) = (herd(50), View::default());
        view.scroll(-5);
        let lines = texts(&herd, &mut view, (80, 14));
        assert!(lines[4].contains("-000 ") && lines[13].contains("-009 "), "{lines:?}");
        view.scroll(1000);
        let lines = texts(&herd, &mut view, (80, 14));
        assert!(lines[4].contains("-040 ") && lines[13].contains("-049 "), "{lines:?}");
    }

    #[test]
    fn rows_have_the_chosen_order() {
        let mut herd = herd(3);
        let mut first = |sort| {
            herd.sort(sort);
            herd.vms[0].row[3].as_u64().map(|ram| ram / 1024)
        };
        assert_eq!([Sort::State, Sort::Name, Sort::Ram].map(&mut first), [Some(2), Some(1), Some(3)]);
    }
}
