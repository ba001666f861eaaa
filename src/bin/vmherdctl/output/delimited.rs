//! The formats for programs, a line a row: CSV by RFC 4180, and `compact`, without headings and with tabs between.

use std::io::{self, Write};

use vmherd::Escaped;

use super::Output;
use super::cell::for_programs;

/// Writes a heading and the rows. Values are as they are; an unknown one is empty.
pub fn write_csv(output: &Output, selected: &[usize], writer: &mut impl Write) -> io::Result<()> {
    let columns = output.schema.columns;
    let headings: Vec<&str> = selected.iter().map(|index| columns[*index].name).collect();
    writeln!(writer, "{}", headings.join(","))?;
    for row in &output.rows {
        let fields = selected.iter().map(|index| {
            let text = for_programs(columns[*index].kind, &row[*index]).unwrap_or_default();
            let is_quoted = text.contains(['"', ',', '\n', '\r']);
            if is_quoted { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
        });
        writeln!(writer, "{}", fields.collect::<Vec<_>>().join(","))?;
    }
    Ok(())
}

/// Writes the rows. Control characters are escaped; an unknown value is `-`.
pub fn write_compact(output: &Output, selected: &[usize], writer: &mut impl Write) -> io::Result<()> {
    let columns = output.schema.columns;
    for row in &output.rows {
        let fields = selected.iter().map(|index| {
            let text = for_programs(columns[*index].kind, &row[*index]);
            text.map_or("-".into(), |text| Escaped(text).to_string())
        });
        writeln!(writer, "{}", fields.collect::<Vec<_>>().join("\t"))?;
    }
    Ok(())
}
