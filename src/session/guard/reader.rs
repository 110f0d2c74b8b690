//! Follows the messages of the server, up to `AuthenticationOk` for the password and beyond for the
//! memory, and passes them on to the driver: as they are, shorter, or not at all.

use std::mem;
use std::time::Instant;

use super::descriptions::{self, Descriptions};
use super::error_text::ErrorText;
use super::flood::Flood;
use super::note;
use super::parameters::{self, Parameters};
use super::refusal::{PasswordRequest, Refusal};
use super::scram::{self, Work};
use crate::pg::AnswerLimit;
use crate::pg::password::Secrets;

/// The tag of every message of authentication.
const AUTHENTICATION: u8 = b'R';

/// The tag of `ReadyForQuery`.
const READY: u8 = b'Z';

/// The tags of `CommandComplete` and `EmptyQueryResponse`.
const COMPLETE: u8 = b'C';
const EMPTY: u8 = b'I';

/// The tag of `NotificationResponse`, and the most bytes of one: PostgreSQL takes a channel of 63
/// bytes and a payload of less than 8,000, and each of them is at most four bytes in UTF-8. Anybody
/// may send many at once, and the daemon keeps few of them (`session::inbox`).
pub(super) const NOTIFICATION: u8 = b'A';
const NOTE: u64 = 4 * (8000 + 64) + 8;

/// The tag of `ParameterStatus`.
pub(super) const PARAMETER: u8 = b'S';

/// The tags of `ParseComplete` and `BindComplete`.
const PARSED: u8 = b'1';
const BOUND: u8 = b'2';

/// The tags of `RowDescription` and `ParameterDescription`.
const COLUMNS: u8 = b'T';
const PARAMETERS: u8 = b't';

/// The tag of `DataRow`.
const DATA_ROW: u8 = b'D';

/// The length of the head of a message: its tag and its length.
const HEAD: usize = 5;

/// The tags of `ErrorResponse` and `NoticeResponse`, and the most bytes of one on the wire. The
/// driver gets less: see `error_text`.
pub(super) const ERROR: u8 = b'E';
pub(super) const NOTICE: u8 = b'N';
const TEXT: u64 = 64 * 1024 * 1024;

/// The memory of the driver for a message besides its bytes, and for each column of a row: an
/// answer of many empty messages, or of rows of nulls, takes far more memory than it has bytes.
pub(super) const MESSAGE: u64 = 128;
const COLUMN: u64 = 24;

/// The most bytes of a message of authentication.
const KEPT: u64 = 4096;

/// The most bytes that a server may send before the session is ready.
const GREETING: u64 = 1024 * 1024;

/// The part of a message that the driver gets.
#[derive(Debug, Default)]
enum Way {
    /// The message, as it arrives.
    #[default]
    Pass,
    /// The message or another one, when it has arrived.
    Keep(Vec<u8>),
    /// An error with shorter fields, when it has arrived.
    Cut(ErrorText),
    /// Nothing.
    Skip,
}

/// Follows the messages of the server, however they are cut into reads.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(in crate::session) struct Reader {
    /// The head of the present message, as far as it has arrived.
    head: [u8; HEAD],
    seen: usize,
    /// How many bytes of its body are still to come.
    rest: u64,
    way: Way,
    /// The number of columns of a row, as far as it has arrived.
    columns: Vec<u8>,
    parameters: Parameters,
    descriptions: Descriptions,
    flood: Flood,
    /// Whether this answer may be that to the preparation of a statement: it is parsed and not
    /// bound.
    prepares: bool,
    secrets: Secrets,
    /// Whether the password must not be sent, and the server may still ask for it.
    withholds: bool,
    /// That of an iteration of SCRAM, and whether a proof takes more than the usual work.
    work: Work,
    is_long: bool,
    /// The memory for this answer, in bytes: from one `ReadyForQuery` to the next, by the lengths
    /// that the messages announce.
    sum: u64,
    /// Whether a session is ready: before that, the answer is the greeting.
    ready: bool,
    /// The last message of this answer, unless there is none. Notifications, notices and parameters
    /// are part of no answer.
    last: Option<u8>,
    /// The most memory for an answer of the session.
    most: AnswerLimit,
    refused: Option<Refusal>,
}

impl Reader {
    pub(in crate::session) fn new(withholds: bool, most: AnswerLimit, secrets: Secrets) -> Self {
        Self {
            head: [0; HEAD],
            seen: 0,
            rest: 0,
            way: Way::Pass,
            columns: Vec::new(),
            parameters: Parameters::default(),
            descriptions: Descriptions::default(),
            flood: Flood::default(),
            prepares: false,
            secrets,
            withholds,
            work: Work::of(0),
            is_long: false,
            sum: 0,
            ready: false,
            last: None,
            most,
            refused: None,
        }
    }

    /// For a connection with a password of this length.
    pub(in crate::session) fn for_password(self, length: usize) -> Self {
        let work = Work::of(length);
        Self { work, ..self }
    }

    /// Whether the driver is to compute a proof of more than the usual work. It is told once.
    pub(super) fn begins_a_long_proof(&mut self) -> bool {
        mem::take(&mut self.is_long)
    }

    /// Takes in the next bytes of the server, and adds to `passed` those for the driver. A refusal
    /// is final.
    pub(super) fn read(&mut self, mut bytes: &[u8], passed: &mut Vec<u8>) -> Result<(), Refusal> {
        while let Some(byte) = bytes.first()
            && self.refused.is_none()
        {
            let taken = if self.rest > 0 {
                let taken = usize::try_from(self.rest)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.rest -= taken as u64;
                self.take_body(&bytes[..taken], passed);
                taken
            } else {
                self.head[self.seen] = *byte;
                self.seen += 1;
                if self.seen == HEAD {
                    self.take_head(passed);
                }
                1
            };
            bytes = &bytes[taken..];
        }
        if self.flood.has_new() && !self.flood.fits(Instant::now()) {
            self.refused.get_or_insert(Refusal::Flood);
        }
        self.refused.map_or(Ok(()), Err)
    }

    fn take_head(&mut self, passed: &mut Vec<u8>) {
        let [tag, length @ ..] = self.head;
        self.seen = 0;
        self.columns.clear();
        // The length counts itself; the driver refuses one that is shorter.
        self.rest = u64::from(u32::from_be_bytes(length).saturating_sub(4));
        self.flood.take(tag, self.rest);
        match tag {
            READY => (self.sum, self.ready, self.prepares) = (0, true, false),
            PARSED => self.prepares = true,
            BOUND => self.prepares = false,
            _ => {}
        }
        self.way = match tag {
            NOTICE => Way::Skip,
            ERROR => Way::Cut(ErrorText::new(self.secrets.clone())),
            AUTHENTICATION if !self.ready => Way::Keep(Vec::new()),
            NOTIFICATION | PARAMETER | COLUMNS | PARAMETERS => Way::Keep(Vec::new()),
            _ => Way::Pass,
        };
        let held = match (tag, self.ready) {
            (NOTICE | NOTIFICATION, true) => None,
            (ERROR, _) => Some(self.rest.min(ErrorText::MOST)),
            _ => Some(self.rest),
        };
        if let Some(held) = held {
            self.take_memory(HEAD as u64 + held + MESSAGE);
        }
        let most = match tag {
            // It would not be known what it asks for.
            AUTHENTICATION if !self.ready => KEPT,
            ERROR | NOTICE => TEXT,
            NOTIFICATION => NOTE,
            PARAMETER => Parameters::MOST,
            COLUMNS | PARAMETERS => self.most().min(Descriptions::LONGEST),
            _ => self.most(),
        };
        if self.rest > most {
            self.refused = Some(Refusal::TooMuch { most });
        }
        if !matches!(tag, NOTICE | NOTIFICATION | PARAMETER | ERROR) {
            self.last = Some(tag).filter(|tag| *tag != READY);
        }
        if matches!(self.way, Way::Pass) {
            passed.extend(self.head);
        }
        if self.rest == 0 {
            self.finish(passed);
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
        let missing = 2 - self.columns.len().min(2);
        if missing == 0 {
            return;
        }
        self.columns.extend(bytes.iter().take(missing));
        if let [high, low] = self.columns[..] {
            self.take_memory(COLUMN * u64::from(u16::from_be_bytes([high, low])));
        }
    }

    fn take_body(&mut self, bytes: &[u8], passed: &mut Vec<u8>) {
        if self.head[0] == DATA_ROW {
            self.take_columns(bytes);
        }
        match &mut self.way {
            Way::Pass => passed.extend(bytes),
            Way::Keep(body) => body.extend(bytes),
            Way::Cut(text) => text.take(bytes),
            Way::Skip => {}
        }
        if self.rest == 0 {
            self.finish(passed);
        }
    }

    /// The message has arrived.
    fn finish(&mut self, passed: &mut Vec<u8>) {
        let tag = self.head[0];
        match mem::take(&mut self.way) {
            Way::Pass | Way::Skip => {}
            Way::Cut(text) => self.take_error(text, passed),
            Way::Keep(body) => match tag {
                NOTIFICATION => {
                    if let Some(body) = note::readable(body) {
                        add(tag, &body, passed);
                    }
                }
                PARAMETER => {
                    let body = parameters::masked(body, &self.secrets);
                    if !self.parameters.keep(&body) {
                        self.refused = Some(Refusal::Parameters);
                    }
                    add(tag, &body, passed);
                }
                COLUMNS | PARAMETERS => self.take_description(body, passed),
                _ => self.take_authentication(body, passed),
            },
        }
    }

    /// A description. The driver keeps that of a prepared statement.
    fn take_description(&mut self, mut body: Vec<u8>, passed: &mut Vec<u8>) {
        let tag = self.head[0];
        let memory = match tag {
            COLUMNS => descriptions::of_columns(&mut body),
            _ => descriptions::of_parameters(&mut body),
        };
        self.take_memory(memory);
        if self.prepares && !self.descriptions.keep(body.len() as u64 + memory) {
            self.refused = Some(Refusal::Descriptions);
        }
        add(tag, &body, passed);
    }

    fn take_authentication(&mut self, mut body: Vec<u8>, passed: &mut Vec<u8>) {
        if let Some((code, text)) = body.split_first_chunk() {
            let code = u32::from_be_bytes(*code);
            if let Some(request) = PasswordRequest::of(code, text).filter(|_| self.withholds) {
                self.refused = Some(Refusal::Password(request));
            }
            self.withholds &= code != 0;
            // SASLContinue
            if code == 11
                && let Some(iterations) = scram::iterations(text)
            {
                match self.work.is_long(iterations) {
                    Ok(is_long) => self.is_long = is_long,
                    Err(heavy) => self.refused = Some(Refusal::HeavyScram(heavy)),
                }
            }
            // SASLFinal with an error, of any text.
            if code == 12 && text.starts_with(b"e=") {
                let text = String::from_utf8_lossy(text);
                let masked = self.secrets.masked(&text).into_owned();
                body.splice(4.., masked.into_bytes());
            }
        }
        add(AUTHENTICATION, &body, passed);
    }

    /// An error. That of a notification which the server cannot send comes where a session waits,
    /// or after a statement has ended. It says of no statement that it failed, and the driver would
    /// take it for an answer.
    fn take_error(&mut self, text: ErrorText, passed: &mut Vec<u8>) {
        let error = text.finish();
        let is_idle = matches!(self.last, None | Some(COMPLETE | EMPTY));
        if self.ready && error.is_of_a_conversion() && (is_idle || error.ends_the_session) {
            self.refused = Some(Refusal::Unreadable);
        }
        self.last = Some(ERROR);
        add(ERROR, &error.body, passed);
    }
}

/// Adds a message.
fn add(tag: u8, body: &[u8], passed: &mut Vec<u8>) {
    // Each body has a limit far below.
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    passed.push(tag);
    passed.extend(length.to_be_bytes());
    passed.extend(body);
}

#[cfg(test)]
mod tests;
