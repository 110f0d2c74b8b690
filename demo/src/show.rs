//! The output of the demo: 80 columns, with colours if the terminal has them (`NO_COLOR` is
//! respected).
//!
//! A closed standard output does not end the demo; the output is dropped.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _, stdin, stdout};

use agent_sync::columns::Column;
use agent_sync::mapping::{Diff, Difference};
use agent_sync::show::{
    BOLD, CYAN, DIM, Entry, GREEN, RED, WIDTH, YELLOW, diff_lines, plural, shorten, wrap,
};
use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use tokio::sync::mpsc;

use crate::daemon::Line;

const TITLE: Style = CYAN.bold();
const CODE: Style = AnsiColor::Blue.on_default();

/// Standard output.
pub(crate) struct Screen {
    out: AutoStream<std::io::Stdout>,
    steps: usize,
    failures: usize,
    /// The lines that the reader enters, where the demo waits for one before each step.
    entered: Option<mpsc::Receiver<()>>,
}

impl Screen {
    /// On a terminal, it waits for Enter before each step, unless it is to be `fast`.
    pub(crate) fn new(fast: bool) -> Self {
        let waits = !fast && Self::is_terminal() && stdin().is_terminal();
        Self {
            out: anstream::stdout(),
            steps: 0,
            failures: 0,
            entered: waits.then(entered),
        }
    }

    /// Whether standard output is a terminal.
    pub(crate) fn is_terminal() -> bool {
        stdout().is_terminal()
    }

    /// The number of failed claims.
    pub(crate) fn failures(&self) -> usize {
        self.failures
    }

    /// Prints the main heading.
    pub(crate) fn heading(&mut self, text: &str) {
        self.line(format_args!("\n{BOLD}{text}{BOLD:#}"));
    }

    /// Prints the title of the next step, on a terminal after Enter.
    pub(crate) async fn step(&mut self, title: &str) {
        self.line("");
        if self.entered.is_some() {
            self.line(format_args!(
                "    {DIM}Enter goes on; Ctrl-C ends the demo.{DIM:#}"
            ));
        }
        if let Some(entered) = &mut self.entered
            && entered.recv().await.is_none()
        {
            self.entered = None;
        }
        self.steps += 1;
        let number = self.steps;
        for (index, text) in wrap(title, WIDTH - 4).iter().enumerate() {
            let lead = if index == 0 {
                format!("{number:>2}. ")
            } else {
                "    ".to_owned()
            };
            self.line(format_args!("{TITLE}{lead}{text}{TITLE:#}"));
        }
    }

    /// Prints a paragraph.
    pub(crate) fn say(&mut self, text: &str) {
        for text in wrap(text, WIDTH - 4) {
            self.line(format_args!("    {text}"));
        }
    }

    /// Prints the SQL that a writer runs.
    pub(crate) fn sql(&mut self, who: &str, sql: &str) {
        self.line(format_args!("    {DIM}{who}:{DIM:#}"));
        for text in sql.lines() {
            self.verbatim(text);
        }
    }

    /// Prints a line of code.
    pub(crate) fn verbatim(&mut self, code: &str) {
        self.line(format_args!("      {CODE}{code}{CODE:#}"));
    }

    /// Prints the output of a program, wrapped.
    pub(crate) fn code(&mut self, code: &str) {
        for text in wrap(code, WIDTH - 6) {
            self.verbatim(&text);
        }
    }

    /// Prints the differences of a configuration.
    pub(crate) fn diff(&mut self, slug: &str, diff: &Diff) {
        self.line(format_args!(
            "    {DIM}agent_configurations, {slug}:{DIM:#}"
        ));
        // The voice settings are a copy of the agent's, which have just been printed, so their keys
        // suffice.
        let (settings, others): (Vec<_>, Vec<_>) =
            diff.differences.iter().partition(|difference| {
                difference.column == Column::VoiceSettings && difference.inside.is_some()
            });
        let others: Vec<_> = others
            .into_iter()
            .map(|difference| (path(difference), difference))
            .collect();
        for line in diff_lines(&others, WIDTH - 6) {
            self.line(format_args!("      {line}"));
        }
        if !settings.is_empty() {
            let keys: Vec<_> = settings
                .iter()
                .filter_map(|difference| difference.inside.as_deref())
                .collect();
            let keys = shorten(&keys.join(", "), WIDTH - 27);
            self.line(format_args!(
                "      {YELLOW}~ voice_settings{YELLOW:#}  in {keys}"
            ));
        }
        if diff.differences.is_empty() {
            self.line(format_args!("      {DIM}nothing has changed{DIM:#}"));
        }
        if !diff.kept.is_empty() {
            for (index, text) in wrap(&diff.kept.join(", "), WIDTH - 14).iter().enumerate() {
                let lead = if index == 0 { "= kept:" } else { "       " };
                self.line(format_args!("      {DIM}{lead} {text}{DIM:#}"));
            }
        }
    }

    /// Prints a line of the daemon's log in its form on a terminal.
    pub(crate) fn log(&mut self, line: &Line) {
        let time = line.text("timestamp");
        let entry = Entry {
            time: time.get(11..19).unwrap_or(""),
            level: &line.text("level"),
            message: &line.text("message"),
            fields: line.fields().collect(),
        };
        for text in entry.wrapped(WIDTH - 4) {
            self.line(format_args!("    {text}"));
        }
    }

    /// Prints what a line of the log says: a batch in a sentence, and no other debug line.
    pub(crate) fn told(&mut self, line: &Line) {
        if line.text("level") != "DEBUG" {
            self.log(line);
        } else if line.text("message") == "batch committed" {
            let number = |field| line.text(field).parse().unwrap_or(0);
            self.line(format_args!(
                "    {} written, {} in sync already",
                plural(number("written"), "configuration"),
                number("unchanged")
            ));
        }
    }

    /// Prints the result of a claim, and counts a failure.
    pub(crate) fn verdict(&mut self, claim: &str, found: Result<(), String>) {
        let (mark, text, colour) = match found {
            Ok(()) => ("✓", claim.to_owned(), GREEN),
            Err(found) => ("✗", format!("expected: {claim}; found: {found}"), RED),
        };
        if mark == "✗" {
            self.failures += 1;
        }
        for (index, text) in wrap(&text, WIDTH - 6).iter().enumerate() {
            let lead = if index == 0 { mark } else { " " };
            self.line(format_args!("    {colour}{lead}{colour:#} {text}"));
        }
    }

    /// Prints one line.
    pub(crate) fn line(&mut self, line: impl Display) {
        let _ = writeln!(self.out, "{line}");
        let _ = self.out.flush();
    }
}

/// The lines of standard input, read by a thread of their own, which ends with the process.
fn entered() -> mpsc::Receiver<()> {
    let (line, entered) = mpsc::channel(16);
    std::thread::spawn(move || {
        for _ in stdin().lines().map_while(Result::ok) {
            if line.blocking_send(()).is_err() {
                break;
            }
        }
    });
    entered
}

/// The path inside of `provider_config` if that is enough, otherwise the column with the path.
fn path(difference: &Difference) -> String {
    match &difference.inside {
        Some(inside) if difference.column == Column::ProviderConfig => inside.clone(),
        _ => difference.path(),
    }
}
