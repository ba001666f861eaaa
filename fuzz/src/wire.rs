//! What a server has written, read as its clients read it: strictly, so that nothing else passes.

/// What a server of WebSocket has sent.
#[derive(Debug, Default)]
pub struct Messages {
    pub texts: Vec<Vec<u8>>,
    pub pongs: usize,
    pub is_closed: bool,
}

/// Bodies, and what follows them that is not HTTP.
pub type Answers<'a> = (Vec<Vec<u8>>, Option<&'a [u8]>);

/// The bodies of the final answers of a whole stream, and what follows one that changes the protocol.
/// `has_heads`: an answer may come without its body.
pub fn responses(stream: &[u8], has_heads: bool) -> Result<Answers<'_>, String> {
    let (mut rest, mut found) = (stream, Vec::new());
    while !rest.is_empty() {
        let end = position(rest, b"\r\n\r\n").ok_or("a head without an end")?;
        let head = std::str::from_utf8(&rest[..end]).map_err(|error| error.to_string())?;
        rest = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).ok_or("no status line")?;
        let status: u16 = status.get(..3).and_then(|code| code.parse().ok()).ok_or("no status")?;
        let mut fields = Vec::new();
        for line in lines {
            fields.push(line.split_once(": ").ok_or("a line that is no field")?);
        }
        let field = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        match status {
            100 => continue,
            101 => return Ok((found, Some(rest))),
            _ => {}
        }
        let body = match (field("Content-Length"), field("Transfer-Encoding")) {
            (Some(length), None) => {
                let length: usize = length.parse().map_err(|_| "no length")?;
                let is_head = has_heads && (rest.is_empty() || rest.starts_with(b"HTTP/1.1 "));
                let (body, others) = match is_head {
                    true => (&[][..], rest),
                    false => rest.split_at_checked(length).ok_or("a body that is too short")?,
                };
                rest = others;
                body.to_vec()
            }
            (None, Some("chunked")) => chunks(&mut rest)?,
            (None, None) if field("Connection") == Some("close") => std::mem::take(&mut rest).to_vec(),
            _ => return Err("a body without a length".to_owned()),
        };
        let closes = field("Connection").is_some_and(|value| value.starts_with("close"));
        if closes && !rest.is_empty() {
            return Err("something follows the last answer".to_owned());
        }
        found.push(body);
    }
    Ok((found, None))
}

/// The messages of a whole stream of frames.
pub fn messages(stream: &[u8]) -> Result<Messages, String> {
    let (mut rest, mut found, mut open) = (stream, Messages::default(), None::<Vec<u8>>);
    while let Some((&[first, second], behind)) = rest.split_first_chunk::<2>() {
        if found.is_closed {
            return Err("a frame follows the close frame".to_owned());
        }
        if first & 0x70 != 0 || second & 0x80 != 0 {
            return Err(format!("a frame begins with {first:#x} {second:#x}"));
        }
        let wide = match second {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let (length, behind) = behind.split_at_checked(wide).ok_or("a header is cut")?;
        let length = match wide {
            0 => usize::from(second),
            _ => length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        };
        let is_short = wide == 0 || length > 125 && (wide == 2 || length > 0xffff);
        let (payload, behind) = behind.split_at_checked(length).ok_or("a payload is cut")?;
        let (is_final, opcode) = (first & 0x80 != 0, first & 0x0f);
        if !is_short || opcode >= 8 && (!is_final || length > 125) {
            return Err("a header that breaks a rule".to_owned());
        }
        rest = behind;
        match (opcode, &mut open) {
            (1, None) => open = Some(payload.to_vec()),
            (0, Some(text)) => text.extend_from_slice(payload),
            (8, _) => found.is_closed = true,
            (10, _) => found.pongs += 1,
            _ => return Err(format!("the opcode {opcode} is not to be here")),
        }
        if opcode < 8 && is_final {
            found.texts.extend(open.take());
        }
    }
    match (rest, open) {
        ([], None) => Ok(found),
        _ => Err("a message is cut".to_owned()),
    }
}

fn chunks(rest: &mut &[u8]) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let end = position(rest, b"\r\n").ok_or("a chunk without a size")?;
        let size = std::str::from_utf8(&rest[..end]).map_err(|error| error.to_string())?;
        let size = usize::from_str_radix(size, 16).map_err(|error| error.to_string())?;
        let behind = &rest[end + 2..];
        let (chunk, behind) = behind.split_at_checked(size).ok_or("a chunk is cut")?;
        body.extend_from_slice(chunk);
        *rest = behind.strip_prefix(b"\r\n").ok_or("a chunk without an end")?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
