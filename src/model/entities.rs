//! Named things with named values: what a conversion makes of a text.

/// Entities in the order of their first appearance; no name stands twice.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entities(pub Vec<Entity>);

/// A named thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entity {
    /// What it is called.
    pub name: String,
    /// Names and values of its parameters, in the order of their first appearance; no name stands twice.
    pub parameters: Vec<(String, String)>,
}
