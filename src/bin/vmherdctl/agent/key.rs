//! Metric keys.

use sha2::{Digest, Sha256};

use super::limits;

/// The key of a metric: the parts, joined by dots. White space and control characters become `_`. A key that is too long
/// ends in a hash of the whole.
pub fn metric_key(parts: &[&str]) -> String {
    let is_bad = |character: char| character.is_whitespace() || character.is_control();
    let mut key = parts.join(".").replace(is_bad, "_");
    if key.len() > limits::KEY_BYTES_MAX {
        let hash = Sha256::digest(&key);
        let hash = format!("~{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3]);
        let mut end = limits::KEY_BYTES_MAX - hash.len();
        while !key.is_char_boundary(end) {
            end -= 1;
        }
        key.replace_range(end.., &hash);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_no_white_space_or_control_characters() {
        assert_eq!(metric_key(&["web-1", "cpu"]), "web-1.cpu");
        let mount = "/mnt/My Disk\t\n\u{a0}\u{7f}\u{85}é";
        assert_eq!(metric_key(&["web-1", "disk", mount, "used"]), "web-1.disk./mnt/My_Disk_____é.used");
    }

    #[test]
    fn long_keys_are_cut_and_stay_distinct() {
        let of = |end: &str| metric_key(&["x", &("é".repeat(150) + end)]);
        let (one, other) = (of("1"), of("2"));
        assert!(one != other && one.starts_with("x.éé"), "{one}");
        for key in [one, other] {
            assert!((limits::KEY_BYTES_MAX - 1..=limits::KEY_BYTES_MAX).contains(&key.len()), "{key}");
        }
        let longest = "k".repeat(limits::KEY_BYTES_MAX);
        assert_eq!(metric_key(&[&longest]), longest);
    }
}
