//! `top`: the VMs and the server's state, on a terminal that is kept up to date.
//!
//! `herd.rs` asks the server; `frame.rs` makes the lines of a screen, without a terminal; `screen.rs` is the terminal.

mod frame;
mod herd;
mod screen;

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::{Arg, ArgMatches};

use self::frame::{View, lines};
use self::herd::{Herd, Sort, Source};
use self::screen::{Key, Screen};
use crate::arguments::{duration, flag, option};
use crate::failure::Failure;
use crate::limits;
use crate::output::{Column, Kind, Output, Schema, Shape};
use crate::session::Session;
use crate::sys::signals::Signal;
use crate::sys::{end_by, terminal_size};
use crate::time::now;

pub static TOP: Schema = Schema {
    name: "vms",
    shape: Shape::Rows,
    columns: &[
        Column::new("vm_id", "NAME", Kind::Text),
        Column::new("state", "STATE", Kind::Text),
        Column::new("since", "SINCE", Kind::Time),
        Column::new("ram", "RAM", Kind::Memory),
        Column::new("cpu", "CPUS", Kind::Number),
        Column::new("disks", "DISKS", Kind::Disks),
    ],
};

pub fn arguments() -> Vec<Arg> {
    vec![
        option("interval", "TIME", "The time between two looks [default: 2s]").value_parser(duration()),
        flag("once", "Print one table and end").conflicts_with("interval"),
    ]
}

/// Logs in by itself: wrong arguments must send nothing.
pub fn top(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let is_once = matches.get_flag("once");
    if !is_once {
        check_terminal(matches)?;
    }
    if !session.is_console() {
        session.log_in_as_given()?;
    }
    let result = if is_once {
        Source::default().fetch(session).map(|herd| (Output::rows(&TOP, herd.rows()), None))
    } else {
        let interval = matches.get_one::<Duration>("interval").copied().unwrap_or(limits::TOP_INTERVAL);
        let ended = session.quietly(limits::TOP_TIMEOUT, |session| live(session, interval));
        ended.map(|signal| (Output::rows(&TOP, Vec::new()).lines(Vec::new()), signal))
    };
    if !session.is_console() {
        session.end_own_login();
    }
    let (output, signal) = result?;
    // The terminal is as it was before.
    signal.into_iter().for_each(end_by);
    Ok(output)
}

fn check_terminal(matches: &ArgMatches) -> Result<(), Failure> {
    if ["format", "columns"].iter().any(|name| matches.contains_id(name)) {
        return Err(Failure::usage("--format and --columns are for top --once"));
    }
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage("standard input and output must be a terminal").or_hint("top --once prints one table"))
}

/// Shows the VMs until a key or a signal ends it. Returns the signal, unless it is that of Ctrl-C.
fn live(session: &mut Session, interval: Duration) -> Result<Option<Signal>, Failure> {
    let interval = interval.max(limits::TOP_INTERVAL_LEAST);
    let mut source = Source::default();
    // A server that can't be asked at all is a failure as of any command.
    let mut herd = source.fetch(session)?;
    let mut view = View { is_bold: session.is_bold, ..View::default() };
    let server = session.server().to_string();
    let terminal = |error: io::Error| Failure::failed(format!("the terminal: {error}"));
    let mut screen = Screen::enter().map_err(terminal)?;
    let (mut pause, mut next) = (interval, now() + interval);
    loop {
        herd.sort(view.sort);
        let size = terminal_size(&io::stdout()).filter(|(_, lines)| *lines > 0).unwrap_or(SIZE);
        screen.draw(&lines(&server, &herd, &mut view, size), size).map_err(terminal)?;
        for key in screen.keys(next.saturating_duration_since(now())).map_err(terminal)? {
            match key {
                Key::Quit => return Ok(None),
                Key::Ended(signal) => return Ok((signal != Signal::INTERRUPT).then_some(signal)),
                Key::Sort => view.sort = view.sort.next(),
                Key::Scroll(rows) => view.scroll(rows),
                Key::Page(pages) => view.scroll(pages * view.page as isize),
            }
        }
        if now() < next {
            continue;
        }
        match source.fetch(session) {
            Ok(fetched) => {
                (herd, view.error, pause) = (fetched, None, interval);
            }
            Err(failure) => {
                view.error = Some(failure.message);
                pause = (pause * 2).min(limits::TOP_PAUSE_MAX).max(interval);
            }
        }
        next = now() + pause;
    }
}

impl Herd {
    /// As rows of [`TOP`].
    fn rows(mut self) -> Vec<Vec<serde_json::Value>> {
        self.sort(Sort::State);
        self.vms.into_iter().map(|vm| vm.row).collect()
    }
}

/// Columns and lines, where the terminal does not say.
const SIZE: (usize, usize) = (80, 24);
