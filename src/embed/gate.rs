//! The gate: the embedding program's code that admits or refuses each connection.

use std::fmt;
use std::sync::Arc;

use super::client::Client;

/// Decides about connections: true admits the client.
#[derive(Clone)]
pub struct Gate(Arc<dyn Fn(&Client) -> bool + Send + Sync>);

/// A question to the gate, as work for a thread.
#[derive(Clone, Debug)]
pub struct GateCall {
    gate: Gate,
    client: Client,
}

impl Gate {
    /// A gate that asks `admit`.
    pub fn new(admit: impl Fn(&Client) -> bool + Send + Sync + 'static) -> Gate {
        Gate(Arc::new(admit))
    }

    /// The question about `client`.
    pub fn call(&self, client: Client) -> GateCall {
        GateCall { gate: self.clone(), client }
    }
}

impl GateCall {
    /// Asks; returns whether the client is admitted.
    pub fn run(&self) -> bool {
        (self.gate.0)(&self.client)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}
