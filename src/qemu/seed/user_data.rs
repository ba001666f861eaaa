//! The user-data of a guest: what cloud-init is to set up.
//!
//! Without user-data of the operator it is one cloud-config. Otherwise it is a MIME multipart of three parts, which
//! cloud-init merges in order: the operator's, the settings that replace the operator's, and the lists that extend the
//! operator's. One part can't do both: cloud-init either replaces all values of a map or extends its lists and keeps
//! its other values.

use std::fmt::Write;

use super::{Seed, SeedError};
use crate::limits;
use crate::model::Secret;
use crate::sys;

/// The user-data of the operator: a cloud-config or a script. Nothing but its first line is interpreted.
#[derive(Clone, Debug)]
pub struct UserData {
    content_type: &'static str,
    /// Its bytes in base64: cloud-init garbles other parts that are not ASCII. They may hold secrets.
    base64: Secret,
}

/// No line of a part begins with this: `=` is only at the end of base64, and our lines are known.
const BOUNDARY: &str = "=_vmherd";

/// cloud-config that replaces what the operator sets.
const SETTINGS: &str = "ssh_pwauth: true\n";

/// The file in which cloud-init allows passwords, written before the SSH server starts. cloud-init up to 22 writes it
/// only after that, and restarts the server then: a user who logs in as soon as it greets would be denied.
const PASSWORDS_ALLOWED: &str = "write_files:
- path: /etc/ssh/sshd_config.d/50-cloud-init.conf
  permissions: \"0600\"
  content: |
    PasswordAuthentication yes
";

/// How cloud-init merges the lists: ours come first. It stops at a user that it can't make, or at a file that it can't
/// write.
const MERGE_LISTS: &str = "merge_how: \"list(prepend)+dict(recurse_array)+str()\"\n";

/// Bytes that the text is expected to have beside the operator's: a text that does not grow leaves no copy of a secret.
const OWN_BYTES: usize = 4096;

const BASE64_DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes per line of base64, which has 76 characters then: the maximum of MIME.
const BYTES_PER_LINE: usize = 57;

impl UserData {
    /// The user-data in a file with these bytes: UTF-8 that begins with the line `#cloud-config` or with `#!`.
    pub fn parse(bytes: &[u8]) -> Result<UserData, SeedError> {
        if bytes.len() > limits::VM_USER_DATA_BYTES_MAX {
            return Err(SeedError::UserDataTooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| SeedError::UserDataNotUtf8)?;
        // The whole first word: #cloud-config-archive is something else.
        let content_type = match text.split(char::is_whitespace).next() {
            Some("#cloud-config") => "text/cloud-config",
            Some(word) if word.starts_with("#!") => "text/x-shellscript",
            _ => return Err(SeedError::UserDataUnknown),
        };
        let base64_text = base64(bytes);
        let base64 = Secret::new(&base64_text);
        sys::wipe(&mut base64_text.into_bytes());
        Ok(UserData { content_type, base64 })
    }
}

/// The user-data of `seed`, with its secrets.
pub fn compose(seed: &Seed<'_>) -> String {
    let Some(UserData { content_type, base64 }) = seed.user_data else {
        let mut text = String::with_capacity(OWN_BYTES);
        text.push_str("#cloud-config\n");
        text.push_str(SETTINGS);
        push_lists(&mut text, seed);
        return text;
    };
    let mut text = String::with_capacity(OWN_BYTES + base64.length());
    let _ = write!(text, "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\n");
    let _ = write!(text, "\n--{BOUNDARY}\nContent-Type: {content_type}\n");
    text.push_str("Content-Transfer-Encoding: base64\n\n");
    text.push_str(base64.expose());
    let header = format!("\n--{BOUNDARY}\nContent-Type: text/cloud-config\n\n#cloud-config\n");
    text.push_str(&header);
    text.push_str(SETTINGS);
    text.push_str(&header);
    text.push_str(MERGE_LISTS);
    push_lists(&mut text, seed);
    let _ = write!(text, "\n--{BOUNDARY}--\n");
    text
}

/// Appends the lists of our cloud-config. The user gets the default shell: no other is in every guest.
fn push_lists(text: &mut String, seed: &Seed<'_>) {
    text.push_str("users:\n- name: ");
    push_quoted(text, seed.user_name);
    text.push_str("\n  plain_text_passwd: ");
    push_quoted(text, seed.password.expose());
    text.push_str("\n  lock_passwd: false\n  sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n");
    text.push_str(PASSWORDS_ALLOWED);
    if let Some(enrollment) = &seed.enrollment {
        text.push_str("- path: /etc/vmherd/enrollment.json\n  permissions: \"0600\"\n");
        text.push_str("  content: |\n    {\"address\": ");
        push_quoted(text, enrollment.address);
        text.push_str(", \"vm_id\": ");
        push_quoted(text, enrollment.vm_id);
        text.push_str(", \"token\": ");
        push_quoted(text, enrollment.token.expose());
        text.push_str("}\n");
    }
}

/// Appends `text` in double quotes, as YAML and JSON read it. The result is ASCII.
fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// `bytes` in base64 (RFC 4648, section 4), in lines.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(BYTES_PER_LINE) * 77);
    for line in bytes.chunks(BYTES_PER_LINE) {
        for group in line.chunks(3) {
            let bits =
                (0..3).fold(0, |bits, at| bits << 8 | group.get(at).map_or(0, |byte| u32::from(*byte)));
            for index in 0..4 {
                let digit = BASE64_DIGITS[(bits >> (18 - 6 * index) & 63) as usize];
                text.push(if index <= group.len() { char::from(digit) } else { '=' });
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{base64, push_quoted};

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases =
            ["", "f Zg==", "fo Zm8=", "foo Zm9v", "foob Zm9vYg==", "fooba Zm9vYmE=", "foobar Zm9vYmFy"];
        for case in cases {
            let (text, expected) = case.split_once(' ').unwrap_or_default();
            assert_eq!(base64(text.as_bytes()).trim_end(), expected, "{text:?}");
        }
        assert_eq!(base64(&[0xfb, 0xef, 0xbe, 0xff]), "++++/w==\n");
        let lines = base64(&[0; 2 * 57 + 1]);
        assert_eq!(lines.lines().map(str::len).collect::<Vec<_>>(), [76, 76, 4]);
    }

    #[test]
    fn a_quoted_text_is_ascii_json() {
        for text in
            ["", "user_1", "a\"b\\c", "a: #b\n\t\u{0}\u{7f}\u{85}", "ä\u{2028}\u{1f600}", "'%{}[]&*!|>@`"]
        {
            let mut quoted = String::new();
            push_quoted(&mut quoted, text);
            assert!(quoted.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{quoted}");
            assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
        }
    }
}
