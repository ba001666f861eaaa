//! The result of a check: nothing, or what is wrong.

/// What is wrong, if anything.
pub(super) type Verification = Result<(), String>;

/// An error unless `holds`.
pub(super) fn ensure(holds: bool, otherwise: &str) -> Verification {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}
