//! The output of commands, apart from what they do: a schema, rows of JSON values, and the formats to write them in.
//!
//! The values are those of `--format json`. The other formats show them by the kind of their column.

mod cell;
mod delimited;
mod table;
mod text;

use std::io::{self, Write};

use serde_json::{Map, Value};

pub use cell::for_people;
pub use text::{fit_text, width, wrap};

/// The columns of a command's output. Its name is the key of the JSON document.
#[derive(Debug)]
pub struct Schema {
    pub name: &'static str,
    pub shape: Shape,
    pub columns: &'static [Column],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Any number of rows.
    Rows,
    /// Exactly one.
    Record,
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// In JSON, CSV and `--columns`.
    pub name: &'static str,
    /// Above a table.
    pub heading: &'static str,
    pub kind: Kind,
    /// When a table shows it without `--columns`.
    pub shown: Shown,
}

/// When a table shows a column that was not asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    Always,
    /// Where any row has a value.
    IfKnown,
    Never,
}

/// What the values of a column are, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Text,
    Number,
    /// MiB.
    Memory,
    /// A list of `{"id", "disk_size"}` in GiB.
    Disks,
    /// GiB.
    Disk,
    /// Seconds since 1970.
    Time,
    /// A list of `[ip, port]`.
    Addresses,
    /// Any JSON.
    Json,
}

/// The rows that a command has produced.
#[derive(Debug)]
pub struct Output {
    pub schema: &'static Schema,
    pub rows: Vec<Vec<Value>>,
    /// What people see instead of a table.
    lines: Option<Vec<String>>,
    /// Whether it has a secret that nothing shows again.
    pub is_unique: bool,
}

/// How to write the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    #[default]
    Table,
    Compact,
    Csv,
    Json,
}

/// The formats by their names.
pub const FORMATS: [(&str, Format); 4] =
    [("table", Format::Table), ("compact", Format::Compact), ("csv", Format::Csv), ("json", Format::Json)];

/// The format, the columns, and what the output is written to.
#[derive(Clone, Debug, Default)]
pub struct Style {
    pub format: Format,
    /// The names of the columns to show; `None`: those of the schema.
    pub columns: Option<Vec<String>>,
    /// The columns of the terminal; `None`: any number.
    pub width: Option<usize>,
    /// Whether headings may be bold.
    pub is_bold: bool,
}

impl Column {
    /// A column that a table shows.
    pub const fn new(name: &'static str, heading: &'static str, kind: Kind) -> Column {
        Column { name, heading, kind, shown: Shown::Always }
    }

    /// A column that a table shows where any row has a value.
    pub const fn if_known(name: &'static str, heading: &'static str, kind: Kind) -> Column {
        Column { name, heading, kind, shown: Shown::IfKnown }
    }

    /// A column that a table shows only with `--columns`.
    pub const fn extra(name: &'static str, heading: &'static str, kind: Kind) -> Column {
        Column { name, heading, kind, shown: Shown::Never }
    }
}

impl Schema {
    /// The indexes of the columns with these names; the error is a name that is none.
    pub fn indexes<'a>(&self, names: &'a [String]) -> Result<Vec<usize>, &'a str> {
        let index = |name: &'a String| {
            self.columns.iter().position(|column| column.name == name).ok_or(name.as_str())
        };
        names.iter().map(index).collect()
    }
}

impl Output {
    pub fn rows(schema: &'static Schema, rows: Vec<Vec<Value>>) -> Output {
        debug_assert!(rows.iter().all(|row| row.len() == schema.columns.len()), "{}", schema.name);
        Output { schema, rows, lines: None, is_unique: false }
    }

    pub fn record(schema: &'static Schema, values: Vec<Value>) -> Output {
        Output::rows(schema, vec![values])
    }

    /// The output with a secret that nothing shows again: a reader that does not take it is a failure.
    pub fn unique(mut self) -> Output {
        self.is_unique = true;
        self
    }

    /// The output with a sentence for people instead of the table.
    pub fn note(self, note: impl Into<String>) -> Output {
        self.lines(vec![note.into()])
    }

    /// The output with lines for people instead of the table.
    pub fn lines(mut self, lines: Vec<String>) -> Output {
        self.lines = Some(lines);
        self
    }

    /// Writes the output in this style. Columns that the schema does not have are left out.
    pub fn write(&self, style: &Style, output: &mut impl Write) -> io::Result<()> {
        let selected = self.select(style);
        match (style.format, &self.lines) {
            (Format::Json, _) => writeln!(output, "{}", self.to_json(&selected))?,
            (Format::Csv, _) => delimited::write_csv(self, &selected, output)?,
            (Format::Compact, _) => delimited::write_compact(self, &selected, output)?,
            (Format::Table, Some(lines)) if style.columns.is_none() => {
                lines.iter().try_for_each(|line| writeln!(output, "{}", vmherd::Escaped(line)))?;
            }
            (Format::Table, _) => table::write(self, &selected, style, output)?,
        }
        Ok(())
    }

    /// The indexes of the columns to write.
    fn select(&self, style: &Style) -> Vec<usize> {
        if let Some(names) = &style.columns {
            return self.schema.indexes(names).unwrap_or_default();
        }
        let is_shown = |(index, column): &(usize, &Column)| match column.shown {
            _ if style.format != Format::Table => true,
            Shown::Always => true,
            Shown::IfKnown => self.rows.iter().any(|row| !row[*index].is_null()),
            Shown::Never => false,
        };
        self.schema.columns.iter().enumerate().filter(is_shown).map(|(index, _)| index).collect()
    }

    fn to_json(&self, selected: &[usize]) -> Value {
        let object = |row: &Vec<Value>| {
            let members = selected.iter().map(|index| {
                let name = self.schema.columns[*index].name;
                (name.to_owned(), row[*index].clone())
            });
            Value::Object(members.collect())
        };
        let content = match self.schema.shape {
            Shape::Record => self.rows.first().map_or(Value::Null, object),
            Shape::Rows => self.rows.iter().map(object).collect(),
        };
        Value::Object(Map::from_iter([(self.schema.name.to_owned(), content)]))
    }
}

#[cfg(test)]
mod tests;
