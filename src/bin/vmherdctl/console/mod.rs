//! The console: commands typed at a prompt, on one connection that lasts, so that a login does.

mod completion;
mod history;
mod line;
mod questions;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{CompletionType, Config, Editor};
use vmherd::Escaped;

use self::completion::Completion;
use self::history::HistoryFile;
use crate::command_table::Command;
use crate::failure::{Class, Failure};
use crate::limits;
use crate::output::{Format, Style, fit_text};
use crate::parser::{self, NotParsed};
use crate::run::{self, report};
use crate::session::Session;
use crate::settings::Settings;

/// Words that only the console has, each with a line for its help.
pub const WORDS: [(&str, &str); 2] =
    [("help", "List the commands, or explain one: help vms"), ("exit", "End the console; so does Ctrl-D")];

/// What a line comes to.
enum Next {
    Continue,
    Exit,
}

/// A console and its state.
struct Console {
    session: Session,
    /// Of commands that do not say how to print.
    style: Style,
    editor: Editor<Completion, MemHistory>,
    history: HistoryFile,
    is_terminal: bool,
    /// The exit code of the last command, for input that is no terminal.
    exit_code: ExitCode,
}

/// Runs a console until its input ends.
pub fn run(settings: Settings, style: Style) -> Result<ExitCode, Failure> {
    let mut console = Console::new(settings, style)?;
    console.greet();
    loop {
        let prompt = console.prompt();
        match console.editor.readline(&prompt) {
            Ok(line) => match console.run_line(&line) {
                Next::Continue => {}
                Next::Exit => break,
            },
            // The line is dropped.
            Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(Failure::failed(format!("the terminal: {error}"))),
        }
    }
    Ok(if console.is_terminal { ExitCode::SUCCESS } else { console.exit_code })
}

impl Console {
    fn new(settings: Settings, style: Style) -> Result<Console, Failure> {
        let failure = |error: ReadlineError| Failure::failed(format!("the terminal: {error}"));
        let config = Config::builder().completion_type(CompletionType::List).auto_add_history(false);
        let config = config.max_history_size(limits::HISTORY_LINES_MAX).map_err(failure)?.build();
        let history = MemHistory::with_config(&config);
        let mut editor = Editor::with_history(config, history).map_err(failure)?;
        editor.set_helper(Some(Completion::default()));
        let (history, lines) = HistoryFile::open();
        for line in lines {
            editor.add_history_entry(line).map_err(failure)?;
        }
        Ok(Console {
            session: Session::of_console(settings)?,
            style,
            editor,
            history,
            is_terminal: io::stdin().is_terminal(),
            exit_code: ExitCode::SUCCESS,
        })
    }

    /// Says where the console is, logs in as the arguments say, and reports a server that does not answer.
    fn greet(&mut self) {
        if self.is_terminal {
            let server = self.session.server();
            eprintln!("vmherdctl {} at {server}; help lists the commands", env!("CARGO_PKG_VERSION"));
        }
        if let Err(failure) = self.session.log_in_as_given().and_then(|()| self.session.ping()) {
            self.report(failure);
        }
    }

    fn prompt(&self) -> String {
        match self.session.vm() {
            Some(vm) => format!("{}> ", fit_text(&Escaped(vm).to_string(), PROMPT_COLUMNS_MAX)),
            None => "vmherd> ".into(),
        }
    }

    fn run_line(&mut self, line: &str) -> Next {
        let line = line.trim();
        if line.is_empty() {
            return Next::Continue;
        }
        let words = match line::split(line) {
            Ok(words) => words,
            Err(why) => {
                self.report(Failure::usage(why));
                return Next::Continue;
            }
        };
        match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["exit" | "quit"] => return Next::Exit,
            ["help", topic @ ..] => {
                self.remember(line);
                self.help(topic);
            }
            ["register"] => self.register(line),
            ["authenticate"] if self.session.settings.vm.is_none() => match questions::vm_name() {
                Ok(name) => self.run_command(line, &["authenticate", "--", &name]),
                Err(failure) => self.report(failure),
            },
            words => self.run_command(line, words),
        }
        Next::Continue
    }

    fn run_command(&mut self, line: &str, words: &[&str]) {
        match parser::parse_line(words) {
            Ok((command, matches)) => {
                self.remember(line);
                let style = run::style_or(&matches, self.style.format);
                let result = self.run_parsed(command, &matches, &style);
                self.finish(result);
            }
            Err(NotParsed::Text(text)) => {
                self.remember(line);
                self.print(&text);
            }
            Err(NotParsed::Failure(failure)) => {
                // A password that was typed after such a command is not kept.
                if parser::find(words).is_some_and(|command| !command.asks_secret) {
                    self.remember(line);
                }
                self.report(failure);
            }
        }
    }

    fn run_parsed(
        &mut self,
        command: &Command,
        matches: &clap::ArgMatches,
        style: &Style,
    ) -> Result<(), Failure> {
        run::check_columns(command, style)?;
        if self.session.settings.server(command.destination)? != *self.session.server() {
            let mut session = Session::new(self.session.settings.clone(), command.destination)?;
            let result = run::run(command, &mut session, matches, style);
            if !session.names().is_empty() {
                self.session.remember_names(session.names().iter().map(String::as_str));
            }
            return result;
        }
        self.session.revive();
        run::run(command, &mut self.session, matches, style)
    }

    /// Asks for a new VM in the order of the protocol's first client.
    fn register(&mut self, line: &str) {
        self.remember(line);
        self.session.revive();
        let result = questions::register(&mut self.session);
        let result = result.and_then(|output| run::print_output(&output, &self.style));
        self.finish(result);
    }

    fn help(&mut self, topic: &[&str]) {
        if topic.is_empty() {
            return self.print(&parser::console_overview(&WORDS));
        }
        let words = [topic, &["--help"]].concat();
        match parser::parse_line(&words) {
            Err(NotParsed::Text(text)) => self.print(&text),
            Err(NotParsed::Failure(failure)) => self.report(failure),
            Ok(_) => {}
        }
    }

    /// Reports a failure, and keeps the names of the last list for completion.
    fn finish(&mut self, result: Result<(), Failure>) {
        match result {
            Ok(()) => self.exit_code = ExitCode::SUCCESS,
            Err(failure) => {
                let is_lost = failure.class == Class::NoConnection && self.session.vm().is_some();
                self.report(failure);
                if is_lost {
                    eprintln!("the next command connects again, and logs in with the token");
                }
            }
        }
        let names = self.session.names();
        if let Some(completion) = self.editor.helper_mut() {
            completion.set_names(names);
        }
    }

    fn remember(&mut self, line: &str) {
        if history::may_keep(line) && self.editor.add_history_entry(line).unwrap_or(false) {
            self.history.append(line);
        }
    }

    fn report(&mut self, failure: Failure) {
        self.exit_code = report(&failure.in_console(), self.style.format == Format::Json);
    }

    fn print(&mut self, text: &str) {
        if let Err(failure) = run::print(format!("{}\n", text.trim_end()).as_bytes()) {
            self.report(failure);
        }
    }
}

/// The name in a prompt leaves room for a command.
const PROMPT_COLUMNS_MAX: usize = 20;
