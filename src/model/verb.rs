//! The verbs of the dialect `verb`.

/// A known verb.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Return the server's status.
    Stat,
}

impl Verb {
    /// The verb `name`, which is in capital letters.
    pub fn parse(name: &str) -> Option<Verb> {
        (name == "STAT").then_some(Verb::Stat)
    }

    /// The verb that the path of a request names, in any case.
    pub fn of_path(path: &str) -> Option<Verb> {
        path.eq_ignore_ascii_case("/stat").then_some(Verb::Stat)
    }
}
