//! The load generator as a process of its own.

use std::process::{Child, Stdio};

use crate::load::Load;
use crate::meter::Outcome;
use crate::process::{Cores, own_program};

/// A load that goes on; killed when this is dropped.
pub struct Background(Child);

impl Cores {
    /// Runs `load` on the generator's core.
    pub fn measure(&self, load: &Load) -> Outcome {
        let output = self
            .start(&self.generator, own_program("load").arg(load.to_json()).stdout(Stdio::piped()))
            .wait_with_output()
            .expect("it ends");
        let line = String::from_utf8_lossy(&output.stdout);
        Outcome::from_line(&line).unwrap_or_else(|| panic!("the generator failed on {load:?}"))
    }

    /// Starts `load` on any core.
    pub fn begin(&self, load: &Load) -> Background {
        Background(self.start(&self.all, own_program("load").arg(load.to_json()).stdout(Stdio::null())))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
