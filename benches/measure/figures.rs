//! Figures that were measured several times, and their table.

use std::fmt;

/// The values of a figure, one for each round.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

/// A line of the table.
pub struct Line {
    pub figure: String,
    pub wanted: String,
    pub measured: String,
    /// Other figures to compare with.
    pub beside: String,
    pub verdict: Verdict,
}

/// Whether the wanted figure is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Holds,
    Missed,
    /// The rounds disagree, or a value is impossible: there was other load on the machine.
    Unclear,
    /// There is nothing to compare with.
    None,
}

impl Verdict {
    /// For figures that other load does not change.
    pub fn exact(holds: bool) -> Verdict {
        if holds { Verdict::Holds } else { Verdict::Missed }
    }

    /// Every round has to be `wanted` at least.
    pub fn at_least(wanted: f64, rounds: &Samples) -> Verdict {
        Verdict::of(rounds, |value| value >= wanted)
    }

    /// Every round has to be `wanted` at most.
    pub fn at_most(wanted: f64, rounds: &Samples) -> Verdict {
        Verdict::of(rounds, |value| value <= wanted)
    }

    /// As `at_least`, where `rounds` are shares of a limit of the machine.
    pub fn of_limit(wanted: f64, rounds: &Samples) -> Verdict {
        match rounds.0.iter().any(|&share| share > 1.0 + LIMIT_TOLERANCE) {
            true => Verdict::Unclear,
            false => Verdict::at_least(wanted, rounds),
        }
    }

    pub fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::Missed, _) | (_, Verdict::Missed) => Verdict::Missed,
            (Verdict::Holds, Verdict::Holds) => Verdict::Holds,
            _ => Verdict::Unclear,
        }
    }

    fn of(rounds: &Samples, is_good: impl Fn(f64) -> bool) -> Verdict {
        match rounds.0.iter().filter(|&&value| is_good(value)).count() {
            0 if rounds.is_empty() => Verdict::None,
            0 => Verdict::Missed,
            all if all == rounds.0.len() => Verdict::Holds,
            _ => Verdict::Unclear,
        }
    }
}

/// A share above the limit by more than this shows that the two were measured under different load.
const LIMIT_TOLERANCE: f64 = 0.05;

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

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, f64> {
        self.0.iter()
    }

    /// The value of the first round.
    pub fn first(&self) -> f64 {
        self.0[0]
    }

    /// Combines this and `other`, round by round.
    pub fn zip(&self, other: &Samples, combine: impl Fn(f64, f64) -> f64) -> Samples {
        self.0.iter().zip(&other.0).map(|(own, other)| combine(*own, *other)).collect()
    }

    /// This in another unit.
    pub fn scaled(&self, factor: f64) -> Samples {
        self.0.iter().map(|value| value * factor).collect()
    }

    /// This divided by `other`, round by round, so that a slow round does not count.
    pub fn ratio(&self, other: &Samples) -> Samples {
        self.zip(other, |own, other| own / other)
    }

    /// The median as a ratio, and the spread.
    pub fn in_words(&self) -> String {
        format!("{:.2} (±{:.0} %)", self.median(), self.spread_percent())
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

/// The median with three significant digits, and the spread.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ±{:.0} %", short(self.median()), self.spread_percent())
    }
}

/// A number with three significant digits.
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
    for Line { figure, wanted, measured, beside, verdict } in lines {
        let verdict = match verdict {
            Verdict::Holds => "holds",
            Verdict::Missed => "missed",
            Verdict::Unclear => "unclear: other load",
            Verdict::None => "",
        };
        text += &format!("| {figure} | {wanted} | {measured} | {beside} | {verdict} |\n");
    }
    text
}
