//! The bounds of a text of a server that is logged, shown or served: it may be no PostgreSQL and
//! send any text (G12).

use std::borrow::Cow;

use serde_json::Value;

/// The most bytes of one text of a server that is logged, shown or served.
pub const TEXT: usize = 4096;

/// The text, with an ellipsis and the number of bytes left out where it is longer than `most`.
pub fn bounded(text: &str, most: usize) -> Cow<'_, str> {
    let kept = brief(text, most);
    match text.len() - kept.len() {
        0 => text.into(),
        left => format!("{kept}… ({left} bytes left out)").into(),
    }
}

/// The text, cut to at most `most` bytes at a character boundary.
pub fn brief(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The most bytes of an event that is no JSON.
const EVENT: usize = 4 * TEXT;

/// An event of the log: each text of one in JSON is bounded, and another one as a whole.
pub(super) fn bounded_event(event: &str) -> Cow<'_, str> {
    if event.len() <= TEXT {
        return event.into();
    }
    match serde_json::from_str(event) {
        Ok(mut json) => {
            bounded_texts(&mut json);
            format!("{json}\n").into()
        }
        Err(_) if event.len() <= EVENT => event.into(),
        Err(_) => format!("{}\n", bounded(event.trim_end(), EVENT)).into(),
    }
}

fn bounded_texts(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > TEXT => *text = bounded(text, TEXT).into_owned(),
        Value::Array(values) => values.iter_mut().for_each(bounded_texts),
        Value::Object(fields) => fields.values_mut().for_each(bounded_texts),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::Clean;

    #[test]
    fn g12_a_text_has_a_bound_and_says_what_is_left_out() {
        let long = format!("{}é", "x".repeat(TEXT - 1));
        let cut = format!("{}… (2 bytes left out)", "x".repeat(TEXT - 1));
        for (text, expected) in [
            ("", ""),
            ("short", "short"),
            (&long[..TEXT - 1], &long[..TEXT - 1]),
            (&long, &cut),
        ] {
            assert_eq!(bounded(text, TEXT), expected);
            let event = serde_json::json!({ "cause": text, "of": [{ "text": text }] });
            let shown = Clean::event(&format!("{event}\n"));
            let expected = serde_json::json!({ "cause": expected, "of": [{ "text": expected }] });
            assert_eq!(shown.as_str(), format!("{expected}\n"));
        }
        let pretty = format!("WARN {}\n", "\u{1}".repeat(1_000_000));
        let shown = Clean::event(&pretty);
        assert!(shown.as_str().len() < 7 * EVENT && shown.as_str().ends_with("left out)\n"));
    }
}
