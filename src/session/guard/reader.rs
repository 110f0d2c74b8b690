//! Follows the messages of the server, up to `AuthenticationOk` for the password and beyond for the
//! memory: what it refuses, and with which limits.

use super::parameters::Parameters;
use crate::pg::AnswerLimit;

/// How a server has asked for the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRequest {
    /// `AuthenticationCleartextPassword`
    #[error("in the clear")]
    Cleartext,
    /// `AuthenticationMD5Password`
    #[error("as an MD5 hash")]
    Md5,
    /// `AuthenticationSASLContinue` with so few iterations that a list of words breaks the proof.
    #[error("by SCRAM with {0} iterations, where at least {ITERATIONS} are expected")]
    WeakScram(u32),
}

/// The fewest iterations of SCRAM: what RFC 7677 asks for, and the default of PostgreSQL.
const ITERATIONS: u32 = 4096;

/// The tag of every message of authentication.
const AUTHENTICATION: u8 = b'R';

/// The tag of `ReadyForQuery`.
const READY: u8 = b'Z';

/// The tag of `NotificationResponse`, and the most bytes of one: PostgreSQL sends a channel of 63
/// bytes and a payload of less than 8,000. Anybody may send many at once, and the daemon keeps few
/// of them (`session::inbox`).
const NOTIFICATION: u8 = b'A';
const NOTE: u64 = 16 * 1024;

/// The tag of `ParameterStatus`.
const PARAMETER: u8 = b'S';

/// The tag of `DataRow`.
const DATA_ROW: u8 = b'D';

/// The length of the head of a message: its tag and its length.
const HEAD: usize = 5;

/// The tags of `ErrorResponse` and `NoticeResponse`, whose text is never shown whole, and the most
/// bytes of one: the driver copies every field.
const ERROR: u8 = b'E';
const NOTICE: u8 = b'N';
const TEXT: u64 = 256 * 1024;

/// The memory of the driver for a message besides its bytes, and for each column of a row: an
/// answer of many empty messages, or of rows of nulls, takes far more memory than it has bytes.
pub(super) const MESSAGE: u64 = 128;
const COLUMN: u64 = 24;

/// The most bytes of a message of authentication from a server that is not verified.
const KEPT: usize = 4096;

/// The most bytes that a server may send before the session is ready.
const GREETING: u64 = 1024 * 1024;

/// Why the stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The server asks for a password that must not be sent.
    #[error(transparent)]
    Password(PasswordRequest),
    /// The server sends more parameters than the driver is to keep.
    #[error("the server sends more than {} bytes of parameters", Parameters::MOST)]
    Parameters,
    /// The server sends more answers than there are questions.
    #[error(
        "the server has not answered a query after {} answers about its types",
        AnswerLimit::ANSWERS
    )]
    TooMany,
    /// The server sends more than the driver is to hold.
    #[error(
        "the server sends more than {most} bytes in one answer, and nothing that agent-sync asks \
        for is as large"
    )]
    TooMuch { most: u64 },
}

/// Follows the messages of the server, however they are cut into reads.
#[derive(Debug)]
pub(super) struct Reader {
    /// The head of the present message, as far as it has arrived.
    head: [u8; HEAD],
    seen: usize,
    /// How many bytes of its body are still to come.
    rest: u64,
    /// The body of a message of authentication or of a parameter, as far as it has arrived, or the
    /// number of columns of a row.
    body: Vec<u8>,
    parameters: Parameters,
    /// Whether the password must not be sent, and the server may still ask for it.
    withholds: bool,
    /// The memory for this answer, in bytes: from one `ReadyForQuery` to the next, by the lengths
    /// that the messages announce.
    sum: u64,
    /// Whether a session is ready: before that, the answer is the greeting.
    ready: bool,
    /// The most memory for an answer of the session.
    most: AnswerLimit,
    refused: Option<Refusal>,
}

impl Reader {
    pub(super) fn new(withholds: bool, most: AnswerLimit) -> Self {
        Self {
            head: [0; HEAD],
            seen: 0,
            rest: 0,
            body: Vec::new(),
            parameters: Parameters::default(),
            withholds,
            sum: 0,
            ready: false,
            most,
            refused: None,
        }
    }

    /// Takes in what the server has sent. A refusal is final.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        while let Some(byte) = bytes.first()
            && self.refused.is_none()
        {
            let taken = if self.rest > 0 {
                let taken = usize::try_from(self.rest)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.rest -= taken as u64;
                self.take_body(&bytes[..taken]);
                taken
            } else {
                self.head[self.seen] = *byte;
                self.seen += 1;
                if self.seen == HEAD {
                    self.take_head();
                }
                1
            };
            bytes = &bytes[taken..];
        }
        self.refused.map_or(Ok(()), Err)
    }

    fn take_head(&mut self) {
        let [tag, length @ ..] = self.head;
        self.seen = 0;
        self.body.clear();
        if tag == READY {
            (self.sum, self.ready) = (0, true);
            if !self.most.answered() {
                self.refused = Some(Refusal::TooMany);
            }
        }
        // The length counts itself; the driver refuses one that is shorter.
        self.rest = u64::from(u32::from_be_bytes(length).saturating_sub(4));
        if tag != NOTIFICATION || !self.ready {
            self.take_memory(HEAD as u64 + self.rest + MESSAGE);
        }
        // Of a message of authentication that is not kept whole, it would not be known what it asks
        // for.
        let most = match tag {
            AUTHENTICATION if self.withholds => KEPT as u64,
            ERROR | NOTICE => TEXT.min(self.most()),
            NOTIFICATION => NOTE,
            PARAMETER => Parameters::MOST,
            _ => self.most(),
        };
        if self.rest > most {
            self.refused = Some(Refusal::TooMuch { most });
        }
    }

    /// The most memory for this answer.
    fn most(&self) -> u64 {
        let most = self.most.bytes();
        if self.ready { most } else { most.min(GREETING) }
    }

    /// Adds to the memory for this answer.
    fn take_memory(&mut self, bytes: u64) {
        self.sum = self.sum.saturating_add(bytes);
        let most = self.most();
        if self.sum > most {
            self.refused = Some(Refusal::TooMuch { most });
        }
    }

    /// Adds the memory for the columns of a row, once their number has arrived.
    fn take_columns(&mut self, bytes: &[u8]) {
        let missing = 2 - self.body.len().min(2);
        if missing == 0 {
            return;
        }
        self.body.extend(bytes.iter().take(missing));
        if let [high, low] = self.body[..] {
            self.take_memory(COLUMN * u64::from(u16::from_be_bytes([high, low])));
        }
    }

    fn take_body(&mut self, bytes: &[u8]) {
        if self.head[0] == DATA_ROW {
            self.take_columns(bytes);
        }
        if self.head[0] == PARAMETER {
            self.body.extend_from_slice(bytes);
            if self.rest == 0 && !self.parameters.keep(&self.body) {
                self.refused = Some(Refusal::Parameters);
            }
        }
        if !self.withholds || self.head[0] != AUTHENTICATION {
            return;
        }
        self.body.extend_from_slice(bytes);
        let Some((code, text)) = self.body.split_first_chunk() else {
            return;
        };
        let request = match u32::from_be_bytes(*code) {
            0 => {
                self.withholds = false;
                return;
            }
            3 => PasswordRequest::Cleartext,
            5 => PasswordRequest::Md5,
            // SASLContinue: `r=nonce,s=salt,i=iterations`
            11 if self.rest == 0 => match iterations(text) {
                Some(iterations) if iterations < ITERATIONS => {
                    PasswordRequest::WeakScram(iterations)
                }
                _ => return,
            },
            _ => return,
        };
        self.refused = Some(Refusal::Password(request));
    }
}

/// The iterations that the first message of a server asks for, in SCRAM.
fn iterations(message: &[u8]) -> Option<u32> {
    let message = str::from_utf8(message).ok()?;
    message
        .split(',')
        .find_map(|part| part.strip_prefix("i="))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_NOTICE: &[u8] = b"N\0\0\0\x0bSNOTICE";
    const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
    const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
    const MD5: &[u8] = b"R\0\0\0\x0c\0\0\0\x05salt";

    /// The first message of a server in SCRAM.
    fn scram(iterations: &str) -> Vec<u8> {
        let text = format!("r=nonce,s=c2FsdA==,i={iterations}");
        let length = u32::try_from(text.len() + 8).unwrap_or_default();
        [
            b"R",
            &length.to_be_bytes()[..],
            &[0, 0, 0, 11],
            text.as_bytes(),
        ]
        .concat()
    }

    /// What comes of these messages when they arrive in pieces of this size: whether the server has
    /// let the client in.
    fn read(messages: &[&[u8]], size: usize) -> Result<bool, Refusal> {
        let mut reader = Reader::new(true, AnswerLimit::default());
        messages
            .concat()
            .chunks(size)
            .try_for_each(|piece| reader.read(piece))?;
        Ok(!reader.withholds)
    }

    #[test]
    fn s12_a_request_for_a_password_is_found_however_it_arrives() {
        use PasswordRequest::{Cleartext, Md5, WeakScram};
        for size in [1, 2, 3, 5, 7, 9, 1000] {
            for (messages, expected) in [
                (&[CLEARTEXT][..], Err(Cleartext)),
                (&[MD5], Err(Md5)),
                (&[A_NOTICE, A_NOTICE, MD5], Err(Md5)),
                (&[SASL, CLEARTEXT], Err(Cleartext)),
                (&[SASL, A_NOTICE], Ok(false)),
                (&[SASL, OK], Ok(true)),
                (&[SASL, &scram("4096"), OK], Ok(true)),
                (&[SASL, &scram("4095"), OK], Err(WeakScram(4095))),
                (&[SASL, &scram("1"), OK], Err(WeakScram(1))),
                // The driver refuses what is no message of SCRAM.
                (&[SASL, &scram("many"), OK], Ok(true)),
                // What comes after is a matter of the session: here the text of a row.
                (&[OK, CLEARTEXT], Ok(true)),
                // The driver gets no further than such a length.
                (&[b"R\0\0\0\x03", CLEARTEXT], Err(Cleartext)),
                (&[b"R\0\0\0\x06\0\0", CLEARTEXT], Err(Cleartext)),
            ] {
                let expected = expected.map_err(Refusal::Password);
                assert_eq!(read(messages, size), expected, "{messages:?} by {size}");
            }
        }
    }

    #[test]
    fn s12_a_server_that_sends_without_end_is_refused() {
        const READY_FOR_QUERY: &[u8] = b"Z\0\0\0\x05I";
        let row = [b"D\0\x01\0\x04".to_vec(), vec![0; 65_536]].concat();
        let note = [b"A\0\0\x40\x04".to_vec(), vec![0; 16_384]].concat();
        let small = |number: usize| A_NOTICE.repeat(number);
        let empty = |number: usize| b"I\0\0\0\x04".repeat(number);
        // 65,535 nulls: 256 KiB on the wire, 1.8 MB in the driver.
        let nulls = [b"D\0\x04\0\x02\xff\xff".to_vec(), vec![0xff; 262_140]].concat();
        let taken = A_NOTICE.len() + 128;
        for size in [1, 7, 4096, 1 << 24] {
            for (messages, fits) in [
                // A length of two gigabytes is refused with the head of the message.
                (b"N\x7f\xff\xff\xf0".to_vec(), false),
                (b"R\x7f\xff\xff\xf0".to_vec(), false),
                // Before the session is ready, a megabyte in all.
                (small(1024 * 1024 / taken), true),
                (small(1024 * 1024 / taken + 1), false),
                // The text of an error or a notice has a limit of its own.
                ([READY_FOR_QUERY, b"E\0\x04\0\x04"].concat(), true),
                ([READY_FOR_QUERY, b"E\0\x04\0\x05"].concat(), false),
                ([READY_FOR_QUERY, b"N\0\x04\0\x05"].concat(), false),
                // Each message takes memory besides its bytes, and so does each column of a row.
                ([READY_FOR_QUERY, &empty(15_000)].concat(), true),
                ([READY_FOR_QUERY, &empty(16_000)].concat(), false),
                ([READY_FOR_QUERY, &nulls].concat(), true),
                ([READY_FOR_QUERY, &nulls, &nulls].concat(), false),
                // Then each answer has room of its own.
                (
                    [
                        READY_FOR_QUERY,
                        &row.repeat(31),
                        READY_FOR_QUERY,
                        &row.repeat(31),
                    ]
                    .concat(),
                    true,
                ),
                ([READY_FOR_QUERY, &row.repeat(32)].concat(), false),
                ([READY_FOR_QUERY, b"D\x7f\xff\xff\xf0"].concat(), false),
                // Notifications are no part of an answer, once the session is ready.
                (
                    [READY_FOR_QUERY, &note.repeat(640), &row.repeat(31)].concat(),
                    true,
                ),
                ([READY_FOR_QUERY, b"A\x7f\xff\xff\xf0"].concat(), false),
                ([READY_FOR_QUERY, b"A\0\0\x40\x05"].concat(), false),
                (note.repeat(64), false),
            ] {
                let mut reader = Reader::new(false, AnswerLimit::new(2 * 1024 * 1024));
                let read = messages
                    .chunks(size)
                    .try_for_each(|piece| reader.read(piece));
                assert_eq!(read.is_ok(), fits, "{} bytes by {size}", messages.len());
            }
        }
    }

    #[test]
    fn g12_the_limit_of_an_answer_rises_with_the_turn_of_heavy_work() {
        let (limit, row) = (AnswerLimit::new(2 << 20), b"D\0\x30\0\x04");
        let row = [&row[..], &vec![0; 3 << 20]].concat();
        for (most, fits) in [(1, false), (2 << 20, false), (4 << 20, true), (1, true)] {
            limit.raise(most);
            let mut reader = Reader::new(false, limit.clone());
            assert_eq!(reader.read(b"Z\0\0\0\x05I"), Ok(()));
            assert_eq!(reader.read(&row).is_ok(), fits, "{most}");
        }
    }

    #[test]
    fn s12_a_server_that_was_refused_stays_refused() {
        let mut reader = Reader::new(true, AnswerLimit::default());
        assert!(reader.read(CLEARTEXT).is_err());
        assert!(reader.read(OK).is_err());
    }
}
