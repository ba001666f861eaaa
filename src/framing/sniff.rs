//! Which framing a connection's first bytes choose, once and for its whole life.

/// What the first bytes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sniffed {
    /// Too little to tell.
    NeedMore,
    /// `{` or `[`: raw JSON.
    RawJson,
    /// A request line of HTTP/1.
    Http,
    /// TLS, SSH, the PROXY protocol or HTTP/2: not spoken here.
    Foreign,
    /// Anything else: lines of metrics text.
    Text,
}

/// Looks at everything that a connection has sent so far, leading white space included.
pub fn sniff(_bytes: &[u8]) -> Sniffed {
    todo!()
}
