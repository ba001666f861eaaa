//! A server with a store of its own: one that keeps everything in memory, and a journal of the changes to VMs.
//! `cargo run --example own_store`, then register a VM.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, io, process};

use vmherd::custom_store::{
    PointRemoval, PointStore, RegistryStore, RemovedPoints, Store, StoreFactory, Write, WriteOutcome, open,
};
use vmherd::{Config, Server, StoreError};

/// Makes connections to the store.
struct JournalFactory(Arc<dyn StoreFactory>);

/// One connection.
struct Journal(Box<dyn Store>);

impl StoreFactory for JournalFactory {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(Journal(self.0.connect()?)))
    }
}

impl Store for Journal {
    fn write(&mut self, writes: &[&Write]) -> Vec<WriteOutcome> {
        let outcomes = self.0.write(writes);
        for (write, outcome) in writes.iter().zip(&outcomes) {
            match write {
                Write::Register { vm, .. } => println!("register {}: {outcome:?}", vm.name),
                Write::Update { login, .. } => println!("update {}: {outcome:?}", login.name),
                Write::Remove(name) => println!("remove {name}: {outcome:?}"),
                _ => {}
            }
        }
        outcomes
    }

    fn remove_points(&mut self, removal: PointRemoval) -> Result<RemovedPoints, StoreError> {
        self.0.remove_points(removal)
    }

    fn registry(&mut self) -> &mut dyn RegistryStore {
        self.0.registry()
    }

    fn points(&mut self) -> &mut dyn PointStore {
        self.0.points()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = env::args().nth(1).unwrap_or("tcp://127.0.0.1:8888".into());
    let directory = env::temp_dir().join(format!("vmherd-own-store-{}", process::id()));
    let config = Config::default().state_dir(&directory).listen(listener.parse()?);
    let journal = Arc::new(JournalFactory(open(&"memory:".parse()?)?));
    let server = Server::builder(config).store(journal).bind()?;
    println!("listening on {}; Enter stops the server", server.addresses()[0]);
    let running = server.start()?;
    io::stdin().read_line(&mut String::new())?;
    running.stop(Duration::from_secs(5))?;
    Ok(fs::remove_dir_all(directory)?)
}
