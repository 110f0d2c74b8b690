//! The parameters that a server reports (`ParameterStatus`): the driver keeps the last value of
//! each name for the life of the connection.

use std::borrow::Cow;
use std::collections::HashMap;

use super::reader::MESSAGE;
use crate::pg::password::Secrets;

/// The parameters of a connection, each with its memory, and the sum.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    each: HashMap<Vec<u8>, u64>,
    sum: u64,
}

impl Parameters {
    /// The most memory for all of them: PostgreSQL has about 15, with short values.
    pub(super) const MOST: u64 = 64 * 1024;

    /// Takes in the name and the value of one. Returns whether all of them still fit.
    pub(super) fn keep(&mut self, body: &[u8]) -> bool {
        let name = body.split(|byte| *byte == 0).next().unwrap_or_default();
        let memory = body.len() as u64 + MESSAGE;
        let before = self.each.insert(name.to_vec(), memory).unwrap_or(0);
        self.sum = self.sum.saturating_sub(before).saturating_add(memory);
        self.sum <= Self::MOST
    }
}

/// The parameter, with no password in its value (G11): the version of the server is shown. The
/// encoding is not shown, and decides on the statements of the session.
pub(super) fn masked(mut body: Vec<u8>, secrets: &Secrets) -> Vec<u8> {
    if let Some(end) = body.iter().position(|byte| *byte == 0)
        && &body[..end] != b"server_encoding"
        && let Ok(value) = str::from_utf8(&body[end..])
        && let Cow::Owned(masked) = secrets.masked(value)
    {
        body.truncate(end);
        body.extend(masked.into_bytes());
    }
    body
}

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use crate::pg::AnswerLimit;
    use crate::pg::password::Secrets;

    /// A parameter with this name and value.
    fn parameter(name: &str, value: &str) -> Vec<u8> {
        let body = [name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat();
        let length = u32::try_from(body.len() + 4).unwrap_or_default();
        [b"S", &length.to_be_bytes()[..], &body].concat()
    }

    #[test]
    fn g12_the_parameters_of_a_connection_are_bounded() {
        const READY_FOR_QUERY: &[u8] = b"Z\0\0\0\x05I";
        let value = "x".repeat(1000);
        let answer = |messages: Vec<u8>| [&messages[..], READY_FOR_QUERY].concat();
        let new = |numbers: std::ops::Range<usize>, value: &str| -> Vec<u8> {
            let answers = numbers.map(|number| answer(parameter(&format!("name-{number}"), value)));
            answers.collect::<Vec<_>>().concat()
        };
        for size in [1, 7, 4096, 1 << 24] {
            for (messages, fits) in [
                // A session sets the same parameters again and again.
                (answer(parameter("TimeZone", &value)).repeat(900), true),
                (new(0..50, &value).repeat(10), true),
                (new(0..400, ""), true),
                // New names, in one answer or in one each, also without a value.
                (new(0..60, &value), false),
                (new(0..500, ""), false),
                (parameter("", &"x".repeat(65_000)), true),
                (parameter("", &"x".repeat(66_000)), false),
            ] {
                let mut reader = Reader::new(false, AnswerLimit::default(), Secrets::default());
                let messages = [READY_FOR_QUERY, &messages].concat();
                let read = messages
                    .chunks(size)
                    .try_for_each(|piece| reader.read(piece, &mut Vec::new()));
                assert_eq!(read.is_ok(), fits, "{} bytes by {size}", messages.len());
            }
        }
    }

    #[test]
    fn g11_the_password_is_masked_in_a_parameter() {
        let secrets = crate::pg::password::know("parameter", [&b"UTF8"[..], b"s3cret-word"]);
        for (name, value, shown) in [
            ("server_version", "16 s3cret-word", "16 ********"),
            ("server_version", "16.4", "16.4"),
            ("client_encoding", "UTF8", "********"),
            ("server_encoding", "UTF8", "UTF8"),
        ] {
            let mut reader = Reader::new(false, AnswerLimit::default(), secrets.clone());
            let mut passed = Vec::new();
            assert_eq!(reader.read(&parameter(name, value), &mut passed), Ok(()));
            assert_eq!(passed, parameter(name, shown), "{name}");
        }
    }
}
