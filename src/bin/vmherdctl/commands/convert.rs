//! Conversion of packed text.

use clap::{Arg, ArgMatches};
use serde_json::Value;

use crate::arguments::positional;
use crate::failure::Failure;
use crate::input::read_input;
use crate::output::{Column, Kind, Output, Schema, Shape};
use crate::session::Session;

pub static PARAMETERS: Schema = Schema {
    name: "parameters",
    shape: Shape::Rows,
    columns: &[
        Column::new("entity", "ENTITY", Kind::Text),
        Column::new("name", "NAME", Kind::Text),
        Column::new("value", "VALUE", Kind::Text),
    ],
};

pub fn arguments() -> Vec<Arg> {
    vec![positional("text", "TEXT", "Hub&&name&&qwe&&%%…; without it: standard input")]
}

pub fn convert(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let text = match matches.get_one::<String>("text") {
        Some(text) => text.clone(),
        // The line break is that of the program that wrote it.
        None => read_input("text")?.trim_end_matches(['\r', '\n']).to_owned(),
    };
    let entities = session.call(|client| client.convert("1", &text))?;
    let rows = entities.as_object().into_iter().flatten().flat_map(|(entity, parameters)| {
        let row = move |(name, value): (&String, &Value)| {
            vec![entity.clone().into(), name.clone().into(), value.clone()]
        };
        parameters.as_object().into_iter().flatten().map(row)
    });
    Ok(Output::rows(&PARAMETERS, rows.collect()))
}
