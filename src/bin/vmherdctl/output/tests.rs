//! Every format of the same rows.

use serde_json::json;

use super::text::width;
use super::*;

static SCHEMA: Schema = Schema {
    name: "vms",
    shape: Shape::Rows,
    columns: &[
        Column::new("vm_id", "NAME", Kind::Text),
        Column::new("ram", "RAM", Kind::Memory),
        Column::extra("last_seen", "LAST SEEN", Kind::Time),
        Column::new("disks", "DISKS", Kind::Disks),
    ],
};

fn output() -> Output {
    let disks = json!([{"id": 1, "disk_size": 100}, {"id": 2, "disk_size": 2048}]);
    Output::rows(
        &SCHEMA,
        vec![
            vec!["web-1".into(), 2048.into(), 0.into(), disks],
            vec!["名前,\"\u{1b}[0m".into(), 512.into(), Value::Null, json!([])],
        ],
    )
}

fn write(output: &Output, style: &Style) -> String {
    let mut bytes = Vec::new();
    assert!(output.write(style, &mut bytes).is_ok());
    String::from_utf8(bytes).unwrap()
}

fn style(format: Format) -> Style {
    Style { format, ..Style::default() }
}

#[test]
fn tables_are_aligned_and_escaped() {
    let expected = "\
NAME              RAM  DISKS
web-1              2G  1=100G 2=2T
名前,\"\\u001b[0m  512M  -
";
    assert_eq!(write(&output(), &style(Format::Table)), expected);
}

#[test]
fn programs_get_plain_values() {
    let csv = "vm_id,ram,last_seen,disks\nweb-1,2048,0,1=100 2=2048\n\"名前,\"\"\u{1b}[0m\",512,,\n";
    assert_eq!(write(&output(), &style(Format::Csv)), csv);
    let compact = "web-1\t2048\t0\t1=100 2=2048\n名前,\"\\u001b[0m\t512\t-\t\n";
    assert_eq!(write(&output(), &style(Format::Compact)), compact);
    let json: Value = serde_json::from_str(&write(&output(), &style(Format::Json))).unwrap();
    assert_eq!(json["vms"][0]["disks"][1], json!({"id": 2, "disk_size": 2048}));
    assert_eq!(json["vms"][1]["last_seen"], Value::Null);
}

#[test]
fn columns_are_selected_in_their_order() {
    let columns = Some(vec!["last_seen".to_owned(), "vm_id".to_owned()]);
    let style = Style { columns, ..style(Format::Table) };
    assert!(
        write(&output(), &style).starts_with("           LAST SEEN  NAME\n1970-01-01 00:00:00Z  web-1\n")
    );
    assert_eq!(SCHEMA.indexes(&["x".to_owned()]), Err("x"));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let long = "長い名前-".repeat(14);
    let disks: Vec<Value> = (1..40).map(|id| json!({"id": id, "disk_size": 100})).collect();
    let rows = vec![vec![long.clone().into(), 2048.into(), 0.into(), disks.into()]];
    let output = Output::rows(&SCHEMA, rows);
    for columns in [20, 24, 30, 40, 80, 200] {
        let style = Style { width: Some(columns), ..style(Format::Table) };
        let text = write(&output, &style);
        assert!(text.lines().all(|line| width(line) <= columns), "{columns}:\n{text}");
        let joined: String = text.chars().filter(|character| !character.is_whitespace()).collect();
        assert!(joined.contains("39=100G"), "nothing is cut off: {text}");
    }
}

#[test]
fn records_are_lines_and_notes_are_for_people() {
    static RECORD: Schema = Schema {
        name: "server",
        shape: Shape::Record,
        columns: &[
            Column::new("uptime", "UPTIME", Kind::Number),
            Column::new("version", "VERSION", Kind::Text),
        ],
    };
    let output = Output::record(&RECORD, vec![61.into(), "0.1.0".into()]);
    assert_eq!(write(&output, &style(Format::Table)), "UPTIME   61\nVERSION  0.1.0\n");
    assert_eq!(write(&output, &style(Format::Json)), "{\"server\":{\"uptime\":61,\"version\":\"0.1.0\"}}\n");
    let output = output.note("it is up");
    assert_eq!(write(&output, &style(Format::Table)), "it is up\n");
    assert_eq!(write(&output, &style(Format::Compact)), "61\t0.1.0\n");
}
