//! Formats numbers, times and names for people, and wraps lines.

use std::borrow::Cow;
use std::time::Duration;

use textwrap::{Options, WordSeparator, WordSplitter};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::Clean;

/// A number with a comma after each group of three digits: `1,234`.
pub fn count(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in at most six characters: `99,999`, `123k`, `4.5M`.
pub fn compact(number: i64) -> String {
    match number.max(0) {
        0..100_000 => count(number),
        100_000..1_000_000 => format!("{}k", number / 1_000),
        1_000_000..10_000_000 => format!("{}.{}M", number / 1_000_000, number / 100_000 % 10),
        10_000_000..10_000_000_000 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

/// A number with a noun: "1 agent", "1,234 agents".
pub fn plural(number: i64, thing: &str) -> String {
    format!(
        "{} {thing}{}",
        count(number),
        if number == 1 { "" } else { "s" }
    )
}

/// A short duration with its unit: `1.2 ms`, `12 ms`, `1.23 s`.
pub fn time(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match ms {
        ..10.0 => format!("{ms:.1} ms"),
        ..1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.2} s", ms / 1000.0),
    }
}

/// An age in one unit, rounded down: `4s`, `12m`, `3h`, `5d`.
#[allow(clippy::cast_possible_truncation, reason = "an age to read")]
pub fn age(seconds: f64) -> String {
    match seconds.max(0.0) as i64 {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A name for the terminal: unchanged if it is plain, otherwise quoted and escaped.
pub fn quoted(name: &str) -> String {
    let shown = crate::mapping::quoted(name);
    let plain =
        shown.get(1..shown.len() - 1) == Some(name) && !name.is_empty() && name.trim() == name;
    if plain { name.to_owned() } else { shown }
}

/// The number of columns that a text takes on a terminal.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// The text, filled with spaces to this number of columns.
pub fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    format!("{text}{}", " ".repeat(missing))
}

/// The text, cut to `room` columns with an ellipsis.
pub fn shorten(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    let room = room.saturating_sub(1);
    let mut used = 0;
    let mut kept: String = text
        .chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= room
        })
        .collect();
    // A sequence, as an emoji with its presentation, can be wider than its characters.
    while columns(&kept) > room {
        kept.pop();
    }
    kept + "…"
}

/// Shortens two texts to `room` columns together. A short text leaves its unused half to the other.
pub fn fit(one: &str, other: &str, room: usize) -> (String, String) {
    let (a, b) = (columns(one), columns(other));
    let half = room / 2;
    let for_one = if b < half { room - b } else { half };
    let for_other = if a < half { room - a } else { half };
    (shorten(one, for_one), shorten(other, for_other))
}

/// Breaks text between words into lines of at most `width` columns. A longer word stays whole, so
/// that it can be copied.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let options = Options::new(width)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    let lines = textwrap::wrap(&text, options);
    lines.into_iter().map(Cow::into_owned).collect()
}

/// Wraps sanitized text behind `lead`; the further lines are indented by the width of `lead`.
pub fn indented(lead: &str, text: &str, width: usize) -> String {
    let indent = columns(lead);
    let lines = wrap(
        Clean::lines(text).as_str(),
        width.saturating_sub(indent).max(20),
    );
    format!("{lead}{}", lines.join(&format!("\n{}", " ".repeat(indent))))
}

/// The text with each line broken between words into lines of at most `width` columns. A further
/// line is indented by two columns more than its first one, as is the text of a list. A longer word
/// stays whole, and so do spaces within a line and at the end of it.
pub(super) fn fitted(text: &str, width: usize) -> String {
    let mut fitted = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let words = line.trim_end();
        let indent = words.len() - words.trim_start().len() + 2;
        let indent = " ".repeat(indent.min(width / 2));
        let options = Options::new(width)
            .subsequent_indent(&indent)
            .break_words(false)
            .word_splitter(WordSplitter::NoHyphenation)
            .word_separator(WordSeparator::AsciiSpace);
        fitted.push_str(&textwrap::fill(words, options));
        fitted.push_str(&line[words.len()..]);
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!(
            [count(7), count(1234), count(-1_234_567)],
            ["7", "1,234", "-1,234,567"]
        );
        let short = [99_999, 123_456, 4_567_890, 45_678_901].map(compact);
        assert_eq!(short, ["99,999", "123k", "4.5M", "45M"]);
        let times = [1_234, 12_345, 1_234_567].map(|us| time(Duration::from_micros(us)));
        assert_eq!(times, ["1.2 ms", "12 ms", "1.23 s"]);
        assert_eq!(
            [0.4, 119.9, 600.0, 7_300.0, 200_000.0].map(age),
            ["0s", "119s", "10m", "2h", "2d"]
        );
    }

    #[test]
    fn what_is_short_leaves_its_room_to_what_is_long() {
        assert_eq!(
            fit("null", "0123456789", 10),
            ("null".to_owned(), "01234…".to_owned())
        );
        assert_eq!(
            fit("01234567", "01234567", 10),
            ("0123…".to_owned(), "0123…".to_owned())
        );
    }

    #[test]
    fn a_text_is_as_wide_as_the_terminal_shows_it() {
        let family = "👩\u{200d}👧";
        for (text, room, shown) in [
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("ne\u{301}e", 3, "ne\u{301}e"),
            ("☎\u{fe0f}☎\u{fe0f}", 4, "☎\u{fe0f}☎\u{fe0f}"),
            (family, 2, family),
            ("abc", 0, "…"),
        ] {
            assert_eq!(shorten(text, room), shown, "{text} {room}");
        }
        let emoji = "☎\u{fe0f}".repeat(50);
        for room in 1..100 {
            assert!(columns(&shorten(&emoji, room)) <= room, "{room}");
        }
        assert_eq!([padded("日本", 6), padded("日本", 1)], ["日本  ", "日本"]);
        assert_eq!(wrap("日本 語 本日", 7), ["日本 語", "本日"]);
        assert_eq!(
            indented("語 ", "a long sentence to break", 24),
            "語 a long sentence to\n   break"
        );
    }

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap(" one\n\ttwo-three  ", 7), ["one", "two-three"]);
        assert_eq!(indented("- ", "", 24), "- ");
        assert_eq!(indented("- ", "a\u{1b}[2J", 24), r"- a\u001b[2J");
        assert_eq!(
            indented("- ", "a long sentence that is broken", 24),
            "- a long sentence that\n  is broken"
        );
    }

    #[test]
    fn each_line_of_an_error_is_broken_between_words_and_what_continues_it_is_indented() {
        let error = "agent-sync: two  spaces stay, and words\n  - of a list hang below the \
            text\n\n  try: /a/path/that/is/longer/than/a/line/is\nquestion? [y/N] ";
        let expected = "agent-sync: two  spaces\n  stay, and words\n  - of a list hang below\n    \
            the text\n\n  try:\n    /a/path/that/is/longer/than/a/line/is\nquestion? [y/N] ";
        assert_eq!(fitted(error, 24), expected);
        assert_eq!(fitted(error, 200), error);
        let coloured = "\u{1b}[31m12345\u{1b}[0m 789 1234";
        assert_eq!(fitted(coloured, 9), "\u{1b}[31m12345\u{1b}[0m 789\n  1234");
    }

    #[test]
    fn a_name_that_could_disturb_a_terminal_is_escaped() {
        assert_eq!(quoted("pizzeria-da-nino"), "pizzeria-da-nino");
        assert_eq!(quoted("agent-sync doctor 1"), "agent-sync doctor 1");
        assert_eq!(quoted("\u{1b}[2J"), r#""\u001b[2J""#);
        assert_eq!([quoted(""), quoted(" x")], ["\"\"", "\" x\""]);
    }
}
