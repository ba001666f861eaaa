//! The modules of the program that have no part in its process.

#[path = "../../src/bin/vmherdctl/agent/backlog.rs"]
pub mod backlog;
#[path = "../../src/bin/vmherdctl/agent/backoff.rs"]
pub mod backoff;
#[path = "../../src/bin/vmherdctl/agent/credentials.rs"]
pub mod credentials;
#[path = "../../src/bin/vmherdctl/agent/key.rs"]
pub mod key;
#[path = "../../src/bin/vmherdctl/agent/limits.rs"]
pub mod limits;
#[path = "../../src/bin/vmherdctl/agent/outbox.rs"]
pub mod outbox;
#[path = "../../src/bin/vmherdctl/agent/sample.rs"]
pub mod sample;
#[path = "../../src/bin/vmherdctl/agent/uplink.rs"]
pub mod uplink;
