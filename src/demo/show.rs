//! How the story looks: 80 columns, and colours where the terminal has them (`NO_COLOR` is respected).
//!
//! A reader that has gone away ends nothing but the showing: what cannot be written is dropped.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Duration;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};

use super::daemon::Line;
use super::diff::{Change, Diff};

const WIDTH: usize = 80;
/// Where the message of a line of the log begins: after the time and the level.
const LOG_INDENT: usize = 19;
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const TITLE: Style = AnsiColor::Cyan.on_default().bold();
const CODE: Style = AnsiColor::Blue.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// How long a reader gets to take a step in before the next one scrolls it up. Nothing is waited for in it.
const BREATH: Duration = Duration::from_millis(600);

/// Standard output.
pub(super) struct Screen {
    out: AutoStream<std::io::Stdout>,
    steps: usize,
    failures: usize,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { out: anstream::stdout(), steps: 0, failures: 0 }
    }

    /// Whether somebody watches.
    pub(super) fn is_terminal() -> bool {
        stdout().is_terminal()
    }

    /// How many steps did not come true.
    pub(super) fn failures(&self) -> usize {
        self.failures
    }

    /// The heading of everything.
    pub(super) fn heading(&mut self, text: &str) {
        self.line(format_args!("\n{BOLD}{text}{BOLD:#}"));
    }

    /// The title of the next step, after a breath where somebody watches.
    pub(super) async fn step(&mut self, title: &str) {
        if Self::is_terminal() && self.steps > 0 {
            tokio::time::sleep(BREATH).await;
        }
        self.steps += 1;
        let number = self.steps;
        self.line("");
        for (index, text) in wrap(title, WIDTH - 4).iter().enumerate() {
            let lead = if index == 0 { format!("{number:>2}. ") } else { "    ".to_owned() };
            self.line(format_args!("{TITLE}{lead}{text}{TITLE:#}"));
        }
    }

    /// A sentence or two.
    pub(super) fn say(&mut self, text: &str) {
        for text in wrap(text, WIDTH - 4) {
            self.line(format_args!("    {text}"));
        }
    }

    /// The SQL that somebody runs.
    pub(super) fn sql(&mut self, who: &str, sql: &str) {
        self.line(format_args!("    {DIM}{who}:{DIM:#}"));
        for text in sql.lines() {
            self.verbatim(text);
        }
    }

    /// A line to paste or to read as it is.
    pub(super) fn verbatim(&mut self, code: &str) {
        self.line(format_args!("      {CODE}{code}{CODE:#}"));
    }

    /// Something of a program's that may be long.
    pub(super) fn code(&mut self, code: &str) {
        for text in wrap(code, WIDTH - 6) {
            self.verbatim(&text);
        }
    }

    /// What became of the configuration of an agent.
    pub(super) fn diff(&mut self, slug: &str, diff: &Diff) {
        self.line(format_args!("    {DIM}agent_configurations, {slug}:{DIM:#}"));
        let widest = diff.changes.iter().map(|(path, _)| path.len()).max().unwrap_or(0);
        let room = WIDTH.saturating_sub(widest + 10).max(16);
        for (path, change) in &diff.changes {
            let path = format!("{path:<widest$}");
            match change {
                Change::Added(new) => {
                    self.line(format_args!("      {GREEN}+ {path}  {}{GREEN:#}", shorten(new, room)));
                }
                Change::Removed(old) => {
                    self.line(format_args!("      {RED}- {path}  {}{RED:#}", shorten(old, room)));
                }
                Change::Inside(keys) => {
                    let keys = shorten(&keys.join(", "), room - 3);
                    self.line(format_args!("      {YELLOW}~ {path}{YELLOW:#}  in {keys}"));
                }
                Change::Changed(old, new) => {
                    let (old, new) = fit(old, new, room - 3);
                    self.line(format_args!(
                        "      {YELLOW}~ {path}{YELLOW:#}  {RED}{old}{RED:#} → {GREEN}{new}{GREEN:#}"
                    ));
                }
            }
        }
        if diff.changes.is_empty() {
            self.line(format_args!("      {DIM}nothing has changed{DIM:#}"));
        }
        if !diff.kept.is_empty() {
            for (index, text) in wrap(&diff.kept.join(", "), WIDTH - 14).iter().enumerate() {
                let lead = if index == 0 { "= kept:" } else { "       " };
                self.line(format_args!("      {DIM}{lead} {text}{DIM:#}"));
            }
        }
    }

    /// A line of the daemon's log, in the way of its pretty form.
    pub(super) fn log(&mut self, line: &Line) {
        let level = line.text("level");
        let colour = match level.as_str() {
            "WARN" => YELLOW,
            "ERROR" => RED,
            "INFO" => GREEN,
            _ => DIM,
        };
        let time = line.text("timestamp");
        let time = time.get(11..19).unwrap_or("");
        let indent = " ".repeat(LOG_INDENT);
        for (index, text) in wrap(&line.text("message"), WIDTH - LOG_INDENT).iter().enumerate() {
            if index == 0 {
                self.line(format_args!("    {DIM}{time:8}{DIM:#} {colour}{level:>5}{colour:#} {text}"));
            } else {
                self.line(format_args!("{indent}{text}"));
            }
        }
        // What is short goes together; what takes lines of its own gets them.
        let (long, short): (Vec<_>, Vec<_>) =
            line.fields().partition(|(_, value)| value.contains('\n') || value.len() > 40);
        let short: Vec<_> = short.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let long = long.iter().flat_map(|(name, value)| {
            [format!("{name}:")].into_iter().chain(value.lines().map(|line| format!("- {line}")))
        });
        for text in [short.join(" ")].into_iter().chain(long) {
            for text in wrap(&text, WIDTH - LOG_INDENT) {
                self.line(format_args!("{indent}{DIM}{text}{DIM:#}"));
            }
        }
    }

    /// Something that was looked at and found to be so, or not.
    pub(super) fn verdict(&mut self, claim: &str, found: Result<(), String>) {
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

    /// One line.
    pub(super) fn line(&mut self, line: impl Display) {
        let _ = writeln!(self.out, "{line}");
        let _ = self.out.flush();
    }
}

/// A duration as a person would say it.
pub(super) fn time(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match ms {
        ..10.0 => format!("{ms:.1} ms"),
        ..1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.2} s", ms / 1000.0),
    }
}

/// A number with commas.
pub(super) fn count(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// At most `room` characters.
fn shorten(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

/// Two texts in the room for both: what the one does not need, the other may take.
fn fit(one: &str, other: &str, room: usize) -> (String, String) {
    let (a, b) = (one.chars().count(), other.chars().count());
    let half = room / 2;
    let for_one = if b < half { room - b } else { half };
    let for_other = if a < half { room - a } else { half };
    (shorten(one, for_one), shorten(other, for_other))
}

/// Lines of at most `width` characters, broken between words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!([count(7), count(1234), count(1_234_567)], ["7", "1,234", "1,234,567"]);
        let times = [1_234, 12_345, 1_234_567].map(|us| time(Duration::from_micros(us)));
        assert_eq!(times, ["1.2 ms", "12 ms", "1.23 s"]);
    }

    #[test]
    fn what_is_short_leaves_its_room_to_what_is_long() {
        assert_eq!(fit("null", "0123456789", 10), ("null".to_owned(), "01234…".to_owned()));
        assert_eq!(fit("01234567", "01234567", 10), ("0123…".to_owned(), "0123…".to_owned()));
    }

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    }
}
