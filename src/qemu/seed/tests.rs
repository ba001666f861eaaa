//! Tests of seeds, as a guest reads them.

use super::fat::tests::read;
use super::{Enrollment, Seed, SeedError, UserData, image};
use crate::limits;
use crate::model::Secret;

const OURS: &str = "users:
- name: \"user_12345\"
  plain_text_passwd: \"s3cret\"
  lock_passwd: false
  sudo: \"ALL=(ALL) NOPASSWD:ALL\"
write_files:
- path: /etc/ssh/sshd_config.d/50-cloud-init.conf
  permissions: \"0600\"
  content: |
    PasswordAuthentication yes
";

const ENROLLMENT: &str = "- path: /etc/vmherd/enrollment.json
  permissions: \"0600\"
  content: |
    {\"address\": \"10.0.2.2:8888\", \"vm_id\": \"an id\", \"token\": \"t0ken\"}
";

/// The user-data of a guest, with the operator's `user_data`.
fn user_data(user_data: Option<&[u8]>, is_enrolled: bool) -> String {
    let user_data = user_data.map(|bytes| UserData::parse(bytes).unwrap());
    let (password, token) = (Secret::new("s3cret"), Secret::new("t0ken"));
    let enrollment = Enrollment { address: "10.0.2.2:8888", vm_id: "an id", token: &token };
    let seed = Seed {
        instance_id: "an instance",
        host_name: "a name",
        user_name: "user_12345",
        password: &password,
        user_data: user_data.as_ref(),
        enrollment: is_enrolled.then_some(enrollment),
    };
    let volume = read(&image(&seed).unwrap());
    assert_eq!(volume.label, "CIDATA");
    let [(first, user_data), (second, meta_data)] = &volume.files[..] else { panic!("{:?}", volume.files) };
    assert_eq!((&first[..], &second[..]), ("user-data", "meta-data"));
    assert_eq!(meta_data, b"instance-id: \"an instance\"\nlocal-hostname: \"a name\"\n");
    String::from_utf8(user_data.clone()).unwrap()
}

/// The header fields and the body of each part of a MIME multipart.
fn parts(text: &str) -> Vec<(&str, &str)> {
    let (header, rest) = text.split_once("\n\n").unwrap();
    let header =
        header.strip_prefix("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"").unwrap();
    let boundary = header.strip_suffix('"').unwrap();
    let rest = rest.strip_prefix(&format!("--{boundary}\n")).unwrap();
    let (rest, after) = rest.split_once(&format!("\n--{boundary}--\n")).unwrap();
    assert_eq!(after, "");
    rest.split(&format!("\n--{boundary}\n")).map(|part| part.split_once("\n\n").unwrap()).collect()
}

/// Decodes base64.
fn decoded(text: &str) -> Vec<u8> {
    let digit = |character: u8| match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("not base64: {character}"),
    };
    let digits = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'=')).map(digit);
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in digits {
        (bits, count) = (bits << 6 | u32::from(digit), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

#[test]
fn without_the_operators_user_data_it_is_one_cloud_config() {
    let settings = "#cloud-config\nssh_pwauth: true\n";
    assert_eq!(user_data(None, false), format!("{settings}{OURS}"));
    assert_eq!(user_data(None, true), format!("{settings}{OURS}{ENROLLMENT}"));
}

#[test]
fn the_operators_user_data_comes_before_ours() {
    let long = format!("#cloud-config\n# {}\n", "x".repeat(limits::VM_USER_DATA_BYTES_MAX - 17));
    assert_eq!(long.len(), limits::VM_USER_DATA_BYTES_MAX);
    let cases: [(&str, &str); 9] = [
        ("text/cloud-config", "#cloud-config"),
        ("text/cloud-config", "#cloud-config\nusers:\n- default\n"),
        ("text/cloud-config", "#cloud-config \r\nusers: []\r\n"),
        ("text/cloud-config", "#cloud-config\n# Grüße\u{1f600}\n"),
        ("text/cloud-config", "#cloud-config\n--=_vmherd--\n--=_vmherd\nContent-Type: text/plain\n\nx"),
        ("text/cloud-config", &long),
        ("text/x-shellscript", "#!"),
        ("text/x-shellscript", "#!/bin/sh\necho \\\n  \"$(hostname)\"\n"),
        ("text/x-shellscript", "#!/bin/sh\n\u{0}\n\n"),
    ];
    for (content_type, operators) in cases {
        let text = user_data(Some(operators.as_bytes()), true);
        assert!(text.is_ascii());
        let parts = parts(&text);
        let [(header, body), settings, lists] = parts[..] else { panic!("{parts:?}") };
        assert_eq!(header, format!("Content-Type: {content_type}\nContent-Transfer-Encoding: base64"));
        assert!(body.lines().all(|line| line.len() <= 76));
        assert!(decoded(body) == operators.as_bytes(), "{operators:?}");
        assert_eq!(settings, ("Content-Type: text/cloud-config", "#cloud-config\nssh_pwauth: true\n"));
        let merging = "#cloud-config\nmerge_how: \"list(prepend)+dict(recurse_array)+str()\"\n";
        let lists_expected = format!("{merging}{OURS}{ENROLLMENT}");
        assert_eq!(lists, ("Content-Type: text/cloud-config", &lists_expected[..]));
    }
}

#[test]
fn other_user_data_of_the_operator_is_refused() {
    let long = ["#cloud-config\n".as_bytes(), &vec![b'\n'; limits::VM_USER_DATA_BYTES_MAX]].concat();
    let cases: [(&[u8], SeedError); 10] = [
        (b"", SeedError::UserDataUnknown),
        (b"\n#cloud-config\n", SeedError::UserDataUnknown),
        (b" #cloud-config\n", SeedError::UserDataUnknown),
        (b"#cloud-config-archive\n- x\n", SeedError::UserDataUnknown),
        (b"#cloud-configuration\n", SeedError::UserDataUnknown),
        (b"\xef\xbb\xbf#cloud-config\n", SeedError::UserDataUnknown),
        (b"## template: jinja\n#cloud-config\n", SeedError::UserDataUnknown),
        (b"Content-Type: multipart/mixed\n", SeedError::UserDataUnknown),
        (b"#cloud-config\n\xff", SeedError::UserDataNotUtf8),
        (&long, SeedError::UserDataTooLarge),
    ];
    for (bytes, expected) in cases {
        assert_eq!(UserData::parse(bytes).err(), Some(expected), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn no_secret_is_in_debug_output() {
    let text = format!("{:?}", UserData::parse(b"#cloud-config\npassword: s3cret\n").unwrap());
    assert_eq!(text, "UserData { content_type: \"text/cloud-config\", base64: Secret(45 bytes) }");
}

#[test]
fn an_enrollment_that_is_too_large_is_an_error() {
    let (password, token) = (Secret::new("s3cret"), Secret::new(&"t".repeat(3 << 20)));
    let enrollment = Some(Enrollment { address: "", vm_id: "", token: &token });
    let seed = Seed {
        instance_id: "",
        host_name: "",
        user_name: "",
        password: &password,
        user_data: None,
        enrollment,
    };
    assert_eq!(image(&seed).err(), Some(SeedError::TooLarge));
}
