//! Draws points with braille characters: two by four dots in each.

use crate::output::{fit_text, width};
use crate::time::display_time;

/// The drawing of the points of `key`, which are in order of time, `columns` wide with `height` lines of dots. Empty
/// without points.
pub fn draw(key: &str, points: &[(i64, f64)], columns: usize, height: usize) -> Vec<String> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let least = points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let most = points.iter().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
    let labels = [label(most), label(least)];
    let label_width = labels.iter().map(|label| width(label)).max().unwrap_or(0);
    let dots_wide = columns.saturating_sub(label_width + AXIS.len()).max(1) * 2;
    let dots_high = height * 4;

    let mut canvas = Canvas::new(dots_wide / 2, height);
    let scale_x = Scale::new(first.0 as f64, last.0 as f64, dots_wide - 1);
    let scale_y = Scale::new(least, most, dots_high - 1);
    let place = |(time, value): &(i64, f64)| {
        (scale_x.position(*time as f64), dots_high - 1 - scale_y.position(*value))
    };
    let mut before = place(first);
    for point in points {
        let next = place(point);
        canvas.line(before, next);
        before = next;
    }

    let mut lines = vec![fit_text(&vmherd::Escaped(key).to_string(), columns)];
    for (index, dots) in canvas.lines().enumerate() {
        let label = match index {
            0 => &*labels[0],
            _ if index + 1 == height => &labels[1],
            _ => "",
        };
        lines.push(format!("{label:>label_width$}{AXIS}{dots}").trim_end().to_owned());
    }
    lines.extend(times(first.0, last.0, label_width + AXIS.len(), columns));
    lines
}

/// The times of the first and the last point, on one line or on two.
fn times(first: i64, last: i64, indent: usize, columns: usize) -> Vec<String> {
    let (first, last) = (display_time(first), display_time(last));
    if first == last {
        return vec![fit_text(&format!("{:indent$}{first}", ""), columns)];
    }
    if indent + first.len() + last.len() < columns {
        let rest = columns - indent;
        return vec![format!("{:indent$}{first}{last:>width$}", "", width = rest - first.len())];
    }
    [first, last].map(|time| fit_text(&time, columns)).into()
}

/// A number in at most ten characters.
fn label(value: f64) -> String {
    let plain = value.to_string();
    if plain.len() <= LABEL_CHARS_MAX {
        return plain;
    }
    // The sign, a digit, a point, two digits and an exponent of up to five characters.
    let rounded = format!("{value:.2}");
    if rounded.len() <= LABEL_CHARS_MAX && value.abs() >= 0.01 { rounded } else { format!("{value:.2e}") }
}

/// Maps values to dots.
struct Scale {
    least: f64,
    range: f64,
    dot_max: usize,
}

impl Scale {
    fn new(least: f64, most: f64, dot_max: usize) -> Scale {
        // Halves: the difference of two large numbers may exceed the largest.
        Scale { least, range: most / 2.0 - least / 2.0, dot_max }
    }

    /// Values that are all the same are in the middle.
    fn position(&self, value: f64) -> usize {
        let share = if self.range > 0.0 { (value / 2.0 - self.least / 2.0) / self.range } else { 0.5 };
        ((share * self.dot_max as f64).round() as usize).min(self.dot_max)
    }
}

/// Dots in characters.
struct Canvas {
    columns: usize,
    cells: Vec<u8>,
}

impl Canvas {
    fn new(columns: usize, lines: usize) -> Canvas {
        Canvas { columns, cells: vec![0; columns * lines] }
    }

    fn dot(&mut self, x: usize, y: usize) {
        // The bits of a character's dots, by column and line.
        const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
        self.cells[y / 4 * self.columns + x / 2] |= BITS[x % 2][y % 4];
    }

    fn line(&mut self, from: (usize, usize), to: (usize, usize)) {
        let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1));
        let between = |from: usize, to: usize, step: usize| {
            let share = if steps == 0 { 0.0 } else { step as f64 / steps as f64 };
            (from as f64 + (to as f64 - from as f64) * share).round() as usize
        };
        for step in 0..=steps {
            self.dot(between(from.0, to.0, step), between(from.1, to.1, step));
        }
    }

    fn lines(&self) -> impl Iterator<Item = String> + '_ {
        // An empty character of braille is not escaped as a space, but it is as invisible.
        let character = |dots: &u8| match dots {
            0 => ' ',
            dots => char::from_u32(0x2800 + u32::from(*dots)).unwrap_or(' '),
        };
        self.cells.chunks(self.columns).map(move |line| line.iter().map(character).collect())
    }
}

const LABEL_CHARS_MAX: usize = 10;
/// Between a label and the dots; of ASCII, so that its length is its width.
const AXIS: &str = " | ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_rises_from_left_to_right() {
        let drawing = draw("load", &[(0, 0.0), (60, 1.0)], 50, 2);
        assert_eq!(drawing.len(), 4, "{drawing:#?}");
        assert_eq!(drawing[0], "load");
        assert!(drawing[1].starts_with("1 |  ") && drawing[1].ends_with('⠉'), "{drawing:#?}");
        assert!(drawing[2].starts_with("0 | ⣀"), "{drawing:#?}");
        assert_eq!(
            drawing[3],
            "    1970-01-01 00:00:00Z  1970-01-01 00:01:00Z".to_owned().replace("Z  ", "Z      ")
        );
    }

    #[test]
    fn drawings_fit_the_terminal() {
        let extreme = [(i64::MIN / 4, f64::MIN), (0, f64::MIN_POSITIVE), (i64::MAX / 4, f64::MAX)];
        for points in [&extreme[..], &extreme[..1], &[(7, 1.5), (7, 1.5)]] {
            for columns in [1, 20, 40, 80] {
                for line in draw(&"k".repeat(200), points, columns, 3) {
                    assert!(width(&line) <= columns.max(15), "{columns}: {line}");
                }
            }
        }
        assert!(draw("k", &[], 80, 3).is_empty());
    }

    #[test]
    fn labels_are_short() {
        for (value, expected) in
            [(1.0, "1"), (0.5, "0.5"), (1.0 / 3.0, "0.33"), (1e300, "1.00e300"), (-1.234e-300, "-1.23e-300")]
        {
            assert_eq!(label(value), expected);
            assert!(label(value).len() <= LABEL_CHARS_MAX);
        }
    }
}
