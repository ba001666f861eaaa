//! Detects the framing of a connection from its first bytes. The choice is final.
//!
//! Reads a bounded number of bytes, keeps no state and consumes nothing.

use super::http_line::HttpLine;
use super::is_white_space;
use crate::limits;

/// The detected framing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sniffed {
    /// More bytes are needed.
    NeedMore,
    /// `{` or `[`: raw JSON.
    RawJson,
    /// A request line of HTTP/1.
    Http,
    /// TLS, SSH, the PROXY protocol or HTTP/2: not supported.
    Unsupported,
    /// Anything else: lines of metrics text.
    Text,
}

/// Detects the framing from all bytes received so far, including leading white space.
pub fn sniff(bytes: &[u8]) -> Sniffed {
    let looked_at = &bytes[..bytes.len().min(limits::SNIFF_WHITE_SPACE_BYTES_MAX + 1)];
    let Some(blank) = looked_at.iter().position(|&byte| !is_white_space(byte)) else {
        let is_too_much = looked_at.len() > limits::SNIFF_WHITE_SPACE_BYTES_MAX;
        return if is_too_much { Sniffed::Text } else { Sniffed::NeedMore };
    };
    let start = &bytes[blank..];
    if matches!(start[0], b'{' | b'[') {
        return Sniffed::RawJson;
    }
    if UNSUPPORTED_PREFIXES.iter().any(|prefix| start.starts_with(prefix)) {
        return Sniffed::Unsupported;
    }
    match HttpLine::new().with_all(start) {
        HttpLine::Yes => Sniffed::Http,
        HttpLine::No if UNSUPPORTED_PREFIXES.iter().any(|prefix| prefix.starts_with(start)) => {
            Sniffed::NeedMore
        }
        HttpLine::No => Sniffed::Text,
        HttpLine::Method { .. } | HttpLine::Target { .. } => Sniffed::NeedMore,
    }
}

/// Prefixes of known, unsupported protocols: a TLS handshake record; SSH (RFC 4253, 4.2); the PROXY protocol's text
/// form, and its binary form after its first four bytes, which are white space; HTTP/2 with prior knowledge (RFC 9113,
/// 3.4).
const UNSUPPORTED_PREFIXES: [&[u8]; 5] = [b"\x16\x03", b"SSH-", b"PROXY ", b"\0\r\nQUIT\n", b"PRI * HTTP/2"];

#[cfg(test)]
mod tests {
    use super::*;

    /// The framing of `bytes`, and after how many bytes it is decided; it must not change afterwards.
    fn detect(bytes: &[u8]) -> (Sniffed, usize) {
        let results: Vec<Sniffed> = (0..=bytes.len()).map(|end| sniff(&bytes[..end])).collect();
        let decided = results.iter().position(|&sniffed| sniffed != Sniffed::NeedMore).unwrap_or(bytes.len());
        assert!(results[decided..].iter().all(|sniffed| sniffed == results.last().unwrap()), "{results:?}");
        (*results.last().unwrap(), decided)
    }

    #[test]
    fn the_framing_is_detected_as_early_as_possible() {
        let cases: &[(&[u8], Sniffed, usize)] = &[
            (b"", Sniffed::NeedMore, 0),
            (b"{\"command\"", Sniffed::RawJson, 1),
            (b"[", Sniffed::RawJson, 1),
            (b" \r\n\t{", Sniffed::RawJson, 5),
            (b" \r\n\t", Sniffed::NeedMore, 4),
            (b"GET / HTTP/1.1\r\n", Sniffed::Http, 5),
            (b"\r\nPOST http://a/ HTTP/1.1", Sniffed::Http, 11),
            (b"OPTIONS * HTTP/1.1", Sniffed::Http, 9),
            (b"\x16\x03\x01\x02\x00", Sniffed::Unsupported, 2),
            (b"\x16\x02", Sniffed::Text, 2),
            (b"SSH-2.0-OpenSSH", Sniffed::Unsupported, 4),
            (b"SSHX", Sniffed::NeedMore, 4),
            (b"SSH x", Sniffed::Text, 5),
            (b"PROXY TCP4 1.2.3.4", Sniffed::Unsupported, 6),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", Sniffed::Unsupported, 12),
            (b"PRI * HTTP/2.0\r\n", Sniffed::Unsupported, 12),
            (b"PRI * HTTP/1.0\r\n", Sniffed::Text, 12),
            (b"PRI / HTTP/1.0\r\n", Sniffed::Http, 5),
            (b"put a 1 2\n", Sniffed::Text, 1),
            (b"GET x", Sniffed::Text, 5),
            (b"ABCDEFGHIJKLMNOPQ", Sniffed::Text, 17),
            (b"\"text\"", Sniffed::Text, 1),
            (b"\0", Sniffed::NeedMore, 1),
            (b"\0\0", Sniffed::Text, 2),
            (b"\xef\xbb\xbf{}", Sniffed::Text, 1),
            (b"\x0b{", Sniffed::Text, 1),
        ];
        for &(bytes, sniffed, decided) in cases {
            assert_eq!(detect(bytes), (sniffed, decided), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn white_space_is_skipped_up_to_its_limit() {
        let blank = [b' '; limits::SNIFF_WHITE_SPACE_BYTES_MAX];
        assert_eq!(sniff(&blank), Sniffed::NeedMore);
        assert_eq!(sniff(&[&blank[..], b"{"].concat()), Sniffed::RawJson);
        assert_eq!(sniff(&[&blank[..], b"GET /"].concat()), Sniffed::Http);
        assert_eq!(sniff(&[&blank[..], b" "].concat()), Sniffed::Text);
        assert_eq!(sniff(&[&blank[..], b" {"].concat()), Sniffed::Text);
    }
}
