//! Both readers of JSON are one grammar; and valid texts are divided as serde_json divides them.

use serde_json::value::RawValue;

use super::*;
use crate::dialect::{decode_front, decode_in_full, decode_json};
use crate::model::CustomCommands;

/// Texts that are objects and nothing else.
const OBJECTS: &[&str] = &[
    "{}",
    "{ }",
    "{\t\r\n}",
    r#"{"command":"ping","data":{}}"#,
    r#"{ "command" : "ping" , "data" : { } }"#,
    r#"{"data":{"token":null},"command":"ping","request_id":17}"#,
    r#"{"command":"put","data":{"points":[{"key":"a.b","value":1.5,"timestamp":1501864247},{"key":"é","value":-0}]}}"#,
    r#"{"command":"put","data":{"key":"long.enough.for.blocks.of.eight","value":-12.5e+10,"timestamp":12345678}}"#,
    r#"{"command":"put","data":{"key":"\u006b\"\\\/\b\f\n\r\t\uD834\uDD1E","value":1}}"#,
    r#"{"command":"update","data":{"vm_id":"web-1","ram":4096,"cpu":4,"disks":[{"id":1,"disk_size":10},{}]}}"#,
    r#"{"command":"update","data":{"\u0072am":1,"ram":2,"\ud800":3,"x":[[{"a":[]}],{},"]}"]}}"#,
    r#"{"command":"register","command":"ping","data":[1,2],"data":{"vm_id":1},"other":{"data":{"token":"x"}}}"#,
    r#"{"d\u0061ta":{"token":"x"},"action":"add_vm","ram":1,"cpu":2,"disks":[1,2,3],"disks":{"1":1}}"#,
    r#"{"action":"update_vm","vm_id":3,"disks":{"1":10,"02":20},"password":null,"data":{"token":"a"}}"#,
    r#"{"verb":"STAT","parameters":{"access_token":"x","container_uuid":[true,false,null]},"data":{}}"#,
    r#"{"request_id":"\u0000","data":"a&&b&&c"}"#,
    r#"{"request_id":1.50e-7,"data":"é€𝄞"}"#,
    r#"{"":0,"a":10,"b":-1,"c":0.5,"d":1E5,"e":1e+5,"f":123456789012345678901234567890,"g":-0.0e-0}"#,
    "{\"a\":\"\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\",\"b\":[ 1 , 2 ,\t[ ] , { } ]}",
];

/// Texts that do not begin with an object.
const OTHERS: &[&[u8]] = &[
    b"",
    b" {}",
    b"\xef\xbb\xbf{}",
    b"[]",
    b"1",
    b"}",
    b"{]",
    b"{[}",
    b"{,}",
    b"{\"a\"}",
    b"{\"a\":}",
    b"{\"a\":1,}",
    b"{\"a\":1 \"b\":2}",
    b"{\"a\":1,,\"b\":2}",
    b"{\"a\"::1}",
    b"{'a':1}",
    b"{1:1}",
    b"{\"a\":[1,]}",
    b"{\"a\":[,1]}",
    b"{\"a\":[1 2]}",
    b"{\"a\":[1}}",
    b"{\"a\":{1]}",
    b"{\"a\":{\"b\":1]}",
    b"{\"a\":[\"b\":1]}",
    b"{\"a\":{\"b\"}}",
    b"{\"a\":{\"b\",1}}",
    b"{\"a\":[{]}",
    b"{\"a\":01}",
    b"{\"a\":-}",
    b"{\"a\":-a}",
    b"{\"a\":+1}",
    b"{\"a\":.5}",
    b"{\"a\":1.}",
    b"{\"a\":1.e5}",
    b"{\"a\":1e}",
    b"{\"a\":1e+}",
    b"{\"a\":0x1}",
    b"{\"a\":1_0}",
    b"{\"a\":12345678:}",
    b"{\"a\":NaN}",
    b"{\"a\":nul}",
    b"{\"a\":nulll}",
    b"{\"a\":True}",
    b"{\"a\":\"\\x41\"}",
    b"{\"a\":\"\\u12\"}",
    b"{\"a\":\"\\u00g0\"}",
    b"{\"a\":\"\\\"}",
    b"{\"a\":\"tab\there\"}",
    b"{\"a\":\"longer than a block\nof eight\"}",
    b"{\"a\":\"nul\0\"}",
    b"{\"a\0\":1}",
    b"{\"a\":\"\xff\"}",
    b"{\"a\":\"\xc0\xaf\"}",
    b"{\"a\":\"\xed\xa0\x80\"}",
    b"{\"a\":\"\xe2\x82\"}",
    b"{\"\x80\":1}",
    b"{\"a\":\xa01}",
    b"{\"a\":1\x0b}",
];

fn customs() -> CustomCommands {
    CustomCommands::default()
}

/// The length of the object at the front.
fn length(input: &[u8]) -> Option<usize> {
    read_request(input, &mut Members::new()).map(str::len)
}

/// The members of an object, or the elements of an array, as serde_json divides it.
fn divided(text: &str) -> Vec<(String, String)> {
    #[derive(Default)]
    struct Found(Vec<(String, String)>);
    impl<'a> serde::de::Visitor<'a> for Found {
        type Value = Vec<(String, String)>;

        fn expecting(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            Ok(())
        }

        fn visit_map<A: serde::de::MapAccess<'a>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
            while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                self.0.push((key.get().into(), value.get().into()));
            }
            Ok(self.0)
        }

        fn visit_seq<A: serde::de::SeqAccess<'a>>(mut self, mut list: A) -> Result<Self::Value, A::Error> {
            while let Some(value) = list.next_element::<&RawValue>()? {
                self.0.push((String::new(), value.get().into()));
            }
            Ok(self.0)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde::Deserializer::deserialize_any(&mut deserializer, Found::default()).expect("the text is valid")
}

/// Compares how a valid text is divided, and what it contains.
fn check_divided(text: &str) {
    let mut found = Vec::new();
    if text.starts_with('{') {
        for_each_field(text, |key, value| found.push((key.to_owned(), value.to_owned())));
    } else if text.starts_with('[') {
        let is_array = for_each_element(text, |index, element| {
            assert_eq!(index, found.len());
            let mut fields = Vec::new();
            element.for_each_field(|key, value| fields.push((key.to_owned(), value.to_owned())));
            let value = element.text();
            assert_eq!(element.is_object(), value.starts_with('{'));
            assert!(!element.is_object() || fields == divided(value), "{value}");
            found.push((String::new(), value.to_owned()));
        });
        assert!(is_array.is_some(), "{text}");
    } else {
        for_each_field(text, |_, _| panic!("{text} has a member"));
        assert_eq!(for_each_element(text, |_, _| panic!("{text} has an element")), None);
        return;
    }
    assert_eq!(found, divided(text), "{text}");
    found.iter().for_each(|(_, value)| check_divided(value));
}

/// Compares the readers on `input`; returns the length that the quick one takes.
fn check_readers(input: &[u8]) -> Option<usize> {
    let shown = input.escape_ascii();
    let whole: Result<&RawValue, _> = serde_json::from_slice(input);
    let found = length(input);
    if let Some(found) = found {
        let taken: Result<&RawValue, _> = serde_json::from_slice(&input[..found]);
        assert!(taken.is_ok_and(|value| value.get().len() == found), "{shown} is taken");
    } else {
        let is_object = whole.as_ref().is_ok_and(|value| value.get().starts_with('{') && input[0] == b'{');
        assert!(!is_object, "{shown} is not taken");
    }
    assert_eq!(decode_json(input, &customs()), decode_in_full(input, &customs()), "{shown}");
    let front = decode_front(input, &customs());
    assert_eq!(front.as_ref().map(|(length, _)| *length), found, "{shown}");
    if let Some((length, decoded)) = front {
        assert_eq!(decoded, decode_in_full(&input[..length], &customs()), "{shown}");
    }
    found
}

#[test]
fn objects_are_taken_with_their_members() {
    for text in OBJECTS {
        assert_eq!(check_readers(text.as_bytes()), Some(text.len()), "{text}");
        check_divided(text);
        let mut members = Members::new();
        let read = read_request(text.as_bytes(), &mut members).expect("it is taken");
        let (all, mut found, mut of_data) = (divided(text), Vec::new(), Vec::new());
        members.for_each_of_request(read, |key, value| found.push((key.to_owned(), value.to_owned())));
        assert_eq!(found, all, "{text}");
        members.for_each_of_data(read, |key, value| of_data.push((key.to_owned(), value.to_owned())));
        let data = all.iter().find(|(key, value)| key == "\"data\"" && value.starts_with('{'));
        assert_eq!(members.has_data(), data.is_some(), "{text}");
        assert_eq!(of_data, data.map(|(_, value)| divided(value)).unwrap_or_default(), "{text}");
    }
}

#[test]
fn what_follows_an_object_does_not_matter() {
    for text in OBJECTS {
        for more in ["{", "}", "\n", "\"", "\n{\"command\":\"ping\"}\n"] {
            assert_eq!(check_readers(format!("{text}{more}").as_bytes()), Some(text.len()), "{text}");
        }
    }
}

#[test]
fn an_object_is_not_taken_before_its_end() {
    for text in OBJECTS {
        for end in 0..text.len() {
            assert_eq!(check_readers(&text.as_bytes()[..end]), None, "{text} up to {end}");
        }
    }
}

#[test]
fn what_is_no_object_is_not_taken() {
    for text in OTHERS {
        assert_eq!(check_readers(text), None, "{}", text.escape_ascii());
    }
}

#[test]
fn the_readers_agree_on_damaged_objects() {
    let bytes = b"\0\x1f \"\\,:[]{}0-+.eEtfnu\n\x7f\x80\xc3\xff";
    for text in OBJECTS {
        let mut damaged = text.as_bytes().to_vec();
        for at in 0..damaged.len() {
            for byte in bytes {
                let was = std::mem::replace(&mut damaged[at], *byte);
                check_readers(&damaged);
                damaged[at] = was;
            }
            let removed = damaged.remove(at);
            check_readers(&damaged);
            damaged.insert(at, removed);
        }
    }
}

#[test]
fn the_readers_agree_on_random_objects() {
    let mut numbers = Numbers(1);
    for _ in 0..5000 {
        let mut text = String::new();
        write_random(&mut numbers, 5, &mut text);
        check_divided(&text);
        let object = format!("{{\"command\":\"put\",\"data\":{text}}}");
        assert_eq!(check_readers(object.as_bytes()), Some(object.len()));
    }
}

/// Random numbers, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Writes a valid text of up to so many levels.
fn write_random(numbers: &mut Numbers, levels: usize, text: &mut String) {
    const SCALARS: [&str; 10] = [
        "0",
        "-12.5e3",
        "1234567890123",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a\\\\\"",
        "\"\\\"]}\"",
        "\"é\\u0022,:\"",
    ];
    let (open, close) = match numbers.below(if levels > 0 { 4 } else { 2 }) {
        2 => ('{', '}'),
        3 => ('[', ']'),
        _ => return text.push_str(SCALARS[numbers.below(SCALARS.len())]),
    };
    let space = |numbers: &mut Numbers| ["", "", " ", "\n\t"][numbers.below(4)];
    text.push(open);
    for index in 0..numbers.below(5) {
        text.push_str(if index > 0 { "," } else { "" });
        text.push_str(space(numbers));
        if open == '{' {
            text.push_str(["\"key\"", "\"\\u006bey\"", "\"value\"", "\"points\"", "\"{\""][numbers.below(5)]);
            text.push_str(space(numbers));
            text.push(':');
            text.push_str(space(numbers));
        }
        write_random(numbers, levels - 1, text);
        text.push_str(space(numbers));
    }
    text.push(close);
}

#[test]
fn beyond_its_limits_the_quick_reader_leaves_an_object_to_the_full_one() {
    let nested = |levels: usize| {
        let (open, close) = ("[{\"a\":".repeat(levels / 2), "}]".repeat(levels / 2));
        format!("{{\"command\":\"ping\",\"data\":{{\"x\":{open}1{close}}}}}")
    };
    for (levels, is_taken) in [(2, true), (62, true), (64, false), (66, false), (20_000, false)] {
        let text = nested(levels);
        assert_eq!(length(text.as_bytes()), is_taken.then_some(text.len()), "{levels} levels");
        assert_eq!(decode_json(text.as_bytes(), &customs()), decode_in_full(text.as_bytes(), &customs()));
        for_each_field(&text, |key, value| {
            assert_eq!(value.len() > 6, key == "\"data\"");
            for_each_field(value, |_, deep| assert_eq!(deep.len(), 8 * (levels / 2) + 1));
        });
    }
    for count in [MEMBERS_MAX - 2, MEMBERS_MAX - 1] {
        let fields: Vec<String> = (0..count).map(|index| format!("\"f{index}\":{index}")).collect();
        let text = format!("{{\"command\":\"ping\",\"data\":{{{}}}}}", fields.join(","));
        assert_eq!(length(text.as_bytes()).is_some(), count + 2 <= MEMBERS_MAX);
        assert_eq!(decode_json(text.as_bytes(), &customs()), decode_in_full(text.as_bytes(), &customs()));
    }
}
