//! From the text of a JSON column to the object in it, however often older writers encoded it (T4).

use std::borrow::Cow;

use super::json;
use super::reasons::Mistakes;
use super::show::describe;

/// How many strings around the object are unwrapped. One is met in production; a bound keeps the
/// work linear.
const MAX_LAYERS: usize = 3;

/// The content of a JSON column.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded<'a> {
    /// SQL NULL, blank text, JSON null or `""` (M4).
    NotSet,
    /// The text of an object, valid and not nested too deeply. Owned if it was encoded more than
    /// once.
    Object(Cow<'a, str>),
    /// Something else; the mistake is noted.
    Mistake,
}

/// The object that a JSON column holds, however often it is encoded; `None` for anything else.
pub(crate) fn object(column: Option<&str>) -> Option<Cow<'_, str>> {
    match decode("", column, &mut Mistakes::default()) {
        Decoded::Object(object) => Some(object),
        Decoded::NotSet | Decoded::Mistake => None,
    }
}

/// Reads the JSON column `path`, and notes what is wrong with it.
pub(super) fn decode<'a>(
    path: &str,
    column: Option<&'a str>,
    mistakes: &mut Mistakes,
) -> Decoded<'a> {
    match unwrap(column) {
        Ok(None) => Decoded::NotSet,
        Ok(Some(object)) => {
            if json::too_deep(&object) {
                let depth = json::depth(&object);
                let expected = format!("nesting of at most {} levels", json::MAX_DEPTH);
                mistakes.add(path, expected, format!("{depth} levels"));
            } else if json::too_many(&object) {
                let number = json::values(&object);
                mistakes.add(
                    path,
                    format!("at most {} values", json::MAX_VALUES),
                    number.to_string(),
                );
            } else {
                return Decoded::Object(object);
            }
            Decoded::Mistake
        }
        Err(found) => {
            mistakes.add(path, "a JSON object", found);
            Decoded::Mistake
        }
    }
}

/// The object in a column, `None` if there is none, or what was found instead.
fn unwrap(column: Option<&str>) -> Result<Option<Cow<'_, str>>, String> {
    let mut text = Cow::Borrowed(column.unwrap_or(""));
    for layer in 0..=MAX_LAYERS {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let raw = json::validate(&text).map_err(|error| {
            let what = if layer == 0 {
                "text that is not JSON"
            } else {
                "a string whose text is not JSON"
            };
            format!(
                "{what} (at line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
        match raw.as_bytes().first() {
            Some(b'{') => {
                return Ok(Some(match text {
                    Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
                    Cow::Owned(_) => Cow::Owned(raw.to_owned()),
                }));
            }
            Some(b'"') => {
                let inner = json::text(raw).ok_or("a string with half of a surrogate pair")?;
                text = Cow::Owned(inner.into_owned());
            }
            _ if json::not_set(raw) => return Ok(None),
            _ => return Err(describe(raw)),
        }
    }
    Err(format!(
        "JSON encoded as a string more than {MAX_LAYERS} times"
    ))
}
