//! Numbers that were measured several times, and the table of them.

use std::fmt;

/// What was measured, once in each round.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

/// A line of the table.
pub struct Line {
    pub figure: String,
    pub wanted: String,
    pub measured: String,
    /// What it is compared with, and how it compares.
    pub beside: String,
    /// Whether it is what is wanted, where something is.
    pub holds: Option<bool>,
}

impl Samples {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
    }

    /// This through `other`, round by round, so that what slowed a whole round down does not count.
    pub fn ratio(&self, other: &Samples) -> Samples {
        self.0.iter().zip(&other.0).map(|(own, other)| own / other).collect()
    }

    /// Half of the distance between the largest and the smallest, in percent of the median.
    fn spread_percent(&self) -> f64 {
        let (min, max) = self.0.iter().fold((f64::MAX, f64::MIN), |(min, max), &v| (min.min(v), max.max(v)));
        50.0 * (max - min) / self.median()
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Samples {
        Samples(values.into_iter().collect())
    }
}

/// The median with three digits that count, and the spread.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ±{:.0} %", short(self.median()), self.spread_percent())
    }
}

/// A number with three digits that count.
pub fn short(number: f64) -> String {
    match number.abs() {
        large if large >= 999_500.0 => format!("{:.2} M", number / 1e6),
        large if large >= 9_995.0 => format!("{:.0} k", number / 1e3),
        large if large >= 999.5 => format!("{:.2} k", number / 1e3),
        middle if middle >= 99.5 => format!("{number:.0}"),
        middle if middle >= 9.95 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// The lines as Markdown.
pub fn table(lines: &[Line]) -> String {
    let mut text =
        String::from("| figure | wanted | measured | beside it | |\n| --- | --- | --- | --- | --- |\n");
    for Line { figure, wanted, measured, beside, holds } in lines {
        let verdict = match holds {
            Some(true) => "holds",
            Some(false) => "missed",
            None => "",
        };
        text += &format!("| {figure} | {wanted} | {measured} | {beside} | {verdict} |\n");
    }
    text
}
