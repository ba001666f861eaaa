//! Says on a terminal that the program waits, while something takes longer than a second.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};

use vmherd::Escaped;

use crate::limits;
use crate::time::now;

/// Shows the progress of something until it is dropped.
pub struct Progress(Option<(mpsc::Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// `what` is what the program waits for.
    pub fn start(what: impl Into<String>) -> Progress {
        if !io::stderr().is_terminal() {
            return Progress(None);
        }
        let (done, is_done) = mpsc::channel();
        let what = Escaped(what.into()).to_string();
        // Without a thread there is no progress to see, and nothing is lost.
        let thread = thread::Builder::new().spawn(move || show(&what, &is_done));
        Progress(thread.ok().map(|thread| (done, thread)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.0.take() {
            drop(done);
            let _ = thread.join();
        }
    }
}

fn show(what: &str, is_done: &mpsc::Receiver<()>) {
    let begin = now();
    let mut is_shown = false;
    while let Err(RecvTimeoutError::Timeout) = is_done.recv_timeout(limits::PROGRESS_AFTER) {
        is_shown = true;
        // Short: a line that wraps can't be taken back.
        let seconds = now().duration_since(begin).as_secs();
        let _ = write!(io::stderr(), "\r{:.30} {seconds} s\x1b[K", what);
    }
    if is_shown {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}
