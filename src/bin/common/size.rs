//! Sizes with units: `512M`, `2G`, `1.5T`. Binary units throughout: `G` and `GiB` are 2^30 bytes.

use serde_json::Number;

/// The unit of a number without one, which is also the server's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Of memory.
    Mib,
    /// Of disks.
    Gib,
}

impl Unit {
    /// The size that `text` says, in this unit. The error says what is wrong.
    pub fn parse(self, text: &str) -> Result<u64, String> {
        let digits = text.find(|character: char| !(character.is_ascii_digit() || character == '.'));
        let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
        let shift = if unit.is_empty() { self.shift() } else { shift_of(unit)? };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let has_digits = !whole.is_empty() && (number.len() == whole.len() || !fraction.is_empty());
        if !has_digits || number.len() > NUMBER_CHARS_MAX {
            return Err("a size is a number with an optional unit: 512M, 2G, 1.5T".into());
        }
        if fraction.contains('.') {
            return Err("a size has one point at most".into());
        }
        // At most 20 digits and 50 bits more: this fits.
        let scale = 10u128.pow(fraction.len() as u32);
        let parts: u128 = format!("{whole}{fraction}").parse().map_err(|_| "it is too large")?;
        let bytes_scaled = parts << shift;
        let unit_scaled = scale << self.shift();
        if !bytes_scaled.is_multiple_of(unit_scaled) {
            return Err(format!("it is not a whole number of {}", self.name()));
        }
        u64::try_from(bytes_scaled / unit_scaled).map_err(|_| "it is too large".into())
    }

    /// `size`, which is in this unit, with the largest unit that divides it.
    pub fn display(self, size: &Number) -> String {
        let Some(mut size) = size.as_u64() else { return size.to_string() };
        let mut index = UNITS.iter().position(|(_, shift)| *shift == self.shift()).unwrap_or(0);
        while size != 0 && size.is_multiple_of(1024) && index + 1 < UNITS.len() {
            size /= 1024;
            index += 1;
        }
        format!("{size}{}", UNITS[index].0)
    }

    fn shift(self) -> u32 {
        match self {
            Unit::Mib => 20,
            Unit::Gib => 30,
        }
    }

    /// The name of the unit.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Mib => "MiB",
            Unit::Gib => "GiB",
        }
    }
}

fn shift_of(unit: &str) -> Result<u32, String> {
    let upper = unit.to_ascii_uppercase();
    let letter = upper.strip_suffix("IB").unwrap_or(&upper);
    let known = UNITS.iter().find(|(name, _)| *name == letter);
    known.map(|(_, shift)| *shift).ok_or_else(|| "the units are M, G, T and P (MiB, GiB, TiB, PiB)".into())
}

/// Each unit, and its bytes as a power of two.
const UNITS: [(&str, u32); 4] = [("M", 20), ("G", 30), ("T", 40), ("P", 50)];
/// More digits than the largest size has.
const NUMBER_CHARS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        for (text, mib) in [("512", 512), ("512M", 512), ("2G", 2048), ("2gib", 2048), ("1.5T", 1_572_864)] {
            assert_eq!(Unit::Mib.parse(text), Ok(mib), "{text}");
        }
        for (text, gib) in [("100", 100), ("1024M", 1), ("1.5T", 1536), ("1P", 1 << 20), ("0.5T", 512)] {
            assert_eq!(Unit::Gib.parse(text), Ok(gib), "{text}");
        }
    }

    #[test]
    fn other_texts_are_errors() {
        for text in ["", "G", "-1", "1.2.3G", "1.", ".5G", "2GB", "2K", "1e3", "99999999999999999999999"] {
            assert!(Unit::Mib.parse(text).is_err(), "{text}");
        }
        assert_eq!(Unit::Gib.parse("512M").unwrap_err(), "it is not a whole number of GiB");
        assert_eq!(Unit::Mib.parse("0.3M").unwrap_err(), "it is not a whole number of MiB");
        assert_eq!(Unit::Mib.parse("99999999999999999999P").unwrap_err(), "it is too large");
    }

    #[test]
    fn display_reads_back() {
        for mib in [0, 1, 512, 1024, 1536, 1 << 20, 1 << 30, u64::MAX] {
            assert_eq!(Unit::Mib.parse(&Unit::Mib.display(&mib.into())), Ok(mib));
        }
        assert_eq!(Unit::Mib.display(&2048.into()), "2G");
        assert_eq!(Unit::Gib.display(&1536.into()), "1536G");
    }
}
