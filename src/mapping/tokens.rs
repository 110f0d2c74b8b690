//! The tokens of JSON text, which is all that the mapping ever parses.
//!
//! The text is one that `serde_json` has found valid. Other text gives useless tokens, but neither
//! a panic nor a loop: every token is at least a byte long.

/// The tokens of a JSON text: punctuation, strings with their quotes, and words (numbers, true,
/// false, null).
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The next value whole: the text from its first token to its last.
    pub(super) fn value(&mut self) -> &'a str {
        self.skip_space();
        let start = self.rest;
        let mut level = 0_usize;
        for token in self.by_ref() {
            match token {
                "{" | "[" => level += 1,
                "}" | "]" => level = level.saturating_sub(1),
                _ => {}
            }
            if level == 0 {
                break;
            }
        }
        start.get(..start.len() - self.rest.len()).unwrap_or("")
    }

    fn skip_space(&mut self) {
        let space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        let length = self.rest.bytes().take_while(space).count();
        self.rest = self.rest.get(length..).unwrap_or("");
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.skip_space();
        let bytes = self.rest.as_bytes();
        let length = match bytes.first()? {
            b'{' | b'}' | b'[' | b']' | b':' | b',' => 1,
            b'"' => {
                let mut at = 1;
                loop {
                    match bytes.get(at) {
                        Some(b'"') => break at + 1,
                        Some(b'\\') => at += 2,
                        Some(_) => at += 1,
                        None => break bytes.len(),
                    }
                }
            }
            _ => {
                let ends = |byte: &u8| {
                    matches!(
                        byte,
                        b'{' | b'}'
                            | b'['
                            | b']'
                            | b':'
                            | b','
                            | b'"'
                            | b' '
                            | b'\n'
                            | b'\r'
                            | b'\t'
                    )
                };
                bytes.iter().position(ends).unwrap_or(bytes.len())
            }
        };
        let (token, rest) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, ""));
        self.rest = rest;
        Some(token)
    }
}
