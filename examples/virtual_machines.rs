//! Starts virtual machines for clients that ask for one, and prints what happens to them:
//! `cargo run --example virtual_machines -- IMAGE [ADDRESS [FROM-TO]]`, then in another terminal
//! `curl -X POST http://127.0.0.1:8888/create`. The image has an SSH server and cloud-init.

use std::io;
use std::time::Duration;

use vmherd::{Accelerator, Config, Event, Qemu, QemuSettings, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let image = arguments.next().ok_or("the path of an image is missing")?;
    let address = arguments.next().unwrap_or_else(|| "tcp://127.0.0.1:8888".to_owned());
    let directory = std::env::temp_dir().join(format!("vmherd-machines-{}", std::process::id()));
    let config = Config::default().state_dir(&directory).store("memory:".parse()?).listen(address.parse()?);

    let mut settings = QemuSettings::new(image, &directory);
    settings.shape.ram_mib = 256;
    // Works everywhere; `Auto` is faster where /dev/kvm can be used.
    settings.accelerator = Accelerator::Tcg;
    if let Some(ports) = arguments.next() {
        let (from, to) = ports.split_once('-').ok_or("ports are FROM-TO")?;
        settings.ports = from.parse()?..=to.parse()?;
    }
    let server = Server::builder(config)
        .hypervisor(Qemu::new(settings))
        .containers_max(2)
        .on_event(|event| match event {
            Event::CreatedContainer { client, container } => {
                println!("created {container} for {}", client.id());
            }
            Event::DestroyedContainer { container, .. } => println!("destroyed {container}"),
            Event::RuntimeError { error, .. } => println!("error: {error}"),
            _ => {}
        })
        .bind()?;
    println!("POST /create and /destroy on {}; Enter stops it", server.addresses()[0]);
    let running = server.start()?;
    io::stdin().read_line(&mut String::new())?;
    // Its VMs end with it.
    running.stop(Duration::from_secs(10))?;
    Ok(std::fs::remove_dir_all(directory)?)
}
