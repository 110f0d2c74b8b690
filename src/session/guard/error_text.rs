//! The fields of an error of the server. PostgreSQL quotes whole values in them, and a trigger can
//! put any text there. So each field is cut, and the driver gets a short message of the same kind.
//! The passwords of the database are masked before that (G11).

use std::mem;

use crate::pg::password::Secrets;
use crate::show::brief;

/// The most bytes of a field.
const FIELD: usize = 4096;

/// The most fields of an error. PostgreSQL has 18 kinds, and sends one of each at most.
const FIELDS: usize = 64;

/// The fields of one error, as far as they have arrived.
#[derive(Debug)]
pub(super) struct ErrorText {
    secrets: Secrets,
    body: Vec<u8>,
    /// The kind of the present field.
    kind: Option<u8>,
    value: Vec<u8>,
    /// How many fields have arrived.
    fields: usize,
    is_ended: bool,
    code: String,
    has_context: bool,
    ends_the_session: bool,
}

impl ErrorText {
    /// The most bytes of all of them. PostgreSQL sends up to 18, most of them short.
    pub(super) const MOST: u64 = 64 * 1024;

    pub(super) fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            body: Vec::new(),
            kind: None,
            value: Vec::new(),
            fields: 0,
            is_ended: false,
            code: String::new(),
            has_context: false,
            ends_the_session: false,
        }
    }

    /// Beyond [`FIELD`], the start of a password could be cut off from its end.
    fn margin(&self) -> usize {
        self.secrets.longest() + 4
    }

    /// Takes in the next part of the message.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        while let Some((first, others)) = bytes.split_first()
            && !self.is_ended
        {
            if self.kind.is_none() {
                self.is_ended = *first == 0;
                self.kind = Some(*first).filter(|kind| *kind != 0);
                bytes = others;
                continue;
            }
            let end = bytes.iter().position(|byte| *byte == 0);
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let room = (FIELD + self.margin()).saturating_sub(self.value.len());
            self.value.extend(part.iter().take(room));
            bytes = &bytes[part.len()..];
            if end.is_some() {
                self.end_field();
                bytes = &bytes[1..];
            }
        }
    }

    fn end_field(&mut self) {
        let Some(kind) = self.kind.take() else {
            return;
        };
        self.fields += 1;
        self.is_ended = self.fields == FIELDS;
        let value = mem::take(&mut self.value);
        let is_cut = value.len() == FIELD + self.margin();
        let text = String::from_utf8_lossy(&value);
        let text = if is_fixed(kind, &text) {
            text
        } else {
            self.secrets.masked(&text).into_owned().into()
        };
        let most = if is_cut {
            text.len().saturating_sub(self.margin())
        } else {
            text.len()
        };
        let text = brief(&text, most.min(FIELD));
        match kind {
            b'C' => text.clone_into(&mut self.code),
            b'W' => self.has_context = true,
            b'V' => self.ends_the_session = text == "FATAL",
            _ => {}
        }
        // With the kind, the end of the field and the end of the message.
        if (self.body.len() + text.len() + 3) as u64 <= Self::MOST {
            self.body.push(kind);
            self.body.extend(text.as_bytes());
            self.body.push(0);
        }
    }

    /// The body of the message that the driver gets.
    pub(super) fn finish(mut self) -> Finished {
        self.end_field();
        self.body.push(0);
        Finished {
            body: self.body,
            code: self.code,
            has_context: self.has_context,
            ends_the_session: self.ends_the_session,
        }
    }
}

/// An error whose fields have all arrived.
pub(super) struct Finished {
    /// The body of the message.
    pub(super) body: Vec<u8>,
    code: String,
    has_context: bool,
    /// Whether the server ends the session with it.
    pub(super) ends_the_session: bool,
}

impl Finished {
    /// Whether it is the error of a text that the server cannot send in UTF-8, or that it does not
    /// take, and of nothing that a statement does: an error of a parameter has its number as the
    /// context.
    pub(super) fn is_of_a_conversion(&self) -> bool {
        matches!(&*self.code, "22021" | "22P05") && !self.has_context
    }
}

/// Whether a field has no text of its own: the driver reads its value, or it is a SQLSTATE.
fn is_fixed(kind: u8, text: &str) -> bool {
    let is_sqlstate = |text: &str| {
        let is_one = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
        text.len() == 5 && text.bytes().all(is_one)
    };
    match kind {
        b'V' | b'P' | b'p' | b'L' => true,
        b'C' => is_sqlstate(text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::password;

    /// The fields of the message that the driver gets, when these arrive in pieces of this size.
    fn cut(fields: &[(u8, &[u8])], secrets: &Secrets, size: usize) -> Vec<(u8, String)> {
        let mut body = Vec::new();
        for (kind, value) in fields {
            body.extend([&[*kind], *value, b"\0"].concat());
        }
        body.push(0);
        let mut text = ErrorText::new(secrets.clone());
        body.chunks(size).for_each(|piece| text.take(piece));
        let body = text.finish().body;
        assert!(body.len() as u64 <= ErrorText::MOST);
        assert!(body.ends_with(b"\0\0"));
        let fields = body[..body.len() - 2].split(|byte| *byte == 0);
        fields
            .map(|field| (field[0], String::from_utf8_lossy(&field[1..]).into_owned()))
            .collect()
    }

    #[test]
    fn g12_the_fields_of_an_error_are_cut_and_keep_their_kind() {
        let long = "ä".repeat(100_000);
        let secrets = Secrets::default();
        for size in [1, 7, 4096, 1 << 20] {
            let fields = [
                (b'S', "ERROR".as_bytes()),
                (b'C', b"22P02"),
                (b'M', long.as_bytes()),
                (b'n', b"a\xffb"),
            ];
            let expected = [
                (b'S', "ERROR".to_owned()),
                (b'C', "22P02".to_owned()),
                (b'M', "ä".repeat(FIELD / 2)),
                (b'n', "a\u{fffd}b".to_owned()),
            ];
            assert_eq!(cut(&fields, &secrets, size), expected, "by {size}");
            let many = vec![(b'D', long.as_bytes()); 40];
            assert_eq!(cut(&many, &secrets, size).len(), 15, "by {size}");
            let empty = vec![(b'D', &b""[..]); 1000];
            assert_eq!(cut(&empty, &secrets, size).len(), FIELDS, "by {size}");
        }
    }

    #[test]
    fn g11_no_part_of_a_password_is_left_where_an_error_is_cut() {
        let word = "s3cret-word";
        let secrets = password::know("cut", [word.as_bytes(), b"ERROR", b"23505"]);
        for size in [1, 4096, 1 << 20] {
            for before in FIELD - 30..FIELD + 30 {
                let value = "x".repeat(before) + &word.repeat(900);
                let found = cut(&[(b'M', value.as_bytes())], &secrets, size);
                let shown = &found[0].1;
                assert!(!shown.contains("s3"), "{before} by {size}: {shown}");
            }
            let value = word.repeat(900);
            let found = cut(&[(b'M', value.as_bytes())], &secrets, size);
            assert_eq!(found[0].1.trim_matches('*'), "");
        }
        let fields: [(u8, &[u8]); 3] = [(b'V', b"ERROR"), (b'C', b"23505"), (b'M', b"23505")];
        let shown = ["ERROR", "23505", "********"];
        let found = cut(&fields, &secrets, 9);
        assert_eq!(
            found.iter().map(|(_, text)| &**text).collect::<Vec<_>>(),
            shown
        );
    }
}
