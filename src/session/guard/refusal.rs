//! Why a stream ends: a request for a password that must not be sent, or too much.

use super::descriptions::Descriptions;
use super::flood::Flood;
use super::parameters::Parameters;
use super::scram::{self, FEWEST, HeavyScram};
use super::wire::Surplus;

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
    #[error("by SCRAM with {0} iterations, where at least {FEWEST} are expected")]
    WeakScram(u32),
}

impl PasswordRequest {
    /// The request of a message of authentication, unless it may be answered: its code, and the
    /// rest of it.
    pub(super) fn of(code: u32, text: &[u8]) -> Option<Self> {
        match code {
            3 => Some(Self::Cleartext),
            5 => Some(Self::Md5),
            // SASLContinue
            11 => scram::iterations(text)
                .filter(|iterations| *iterations < FEWEST)
                .map(Self::WeakScram),
            _ => None,
        }
    }
}

/// Why the stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The server asks for a password that must not be sent.
    #[error(transparent)]
    Password(PasswordRequest),
    /// The server asks for a proof of the password that takes long.
    #[error(transparent)]
    HeavyScram(HeavyScram),
    /// The server sends more parameters than the driver is to keep.
    #[error("the server sends more than {} bytes of parameters", Parameters::MOST)]
    Parameters,
    /// The server describes prepared statements with more than the driver is to keep.
    #[error(
        "the server describes the prepared statements with more than {} bytes",
        Descriptions::MOST
    )]
    Descriptions,
    /// The server sends more than a busy one.
    #[error(
        "the server floods the connection: within {} s, it has sent more notifications, notices, \
        errors or parameters than agent-sync takes",
        Flood::PERIOD.as_secs()
    )]
    Flood,
    /// The server sends messages of TLS that have no content, such as session tickets or new keys.
    #[error(
        "the server sends more than {} bytes of TLS without content",
        Surplus::MOST
    )]
    NoContent,
    /// The server cannot send the text of a notification, and has ended the session on account of
    /// it (or, before the minor versions of November 2025, sends an error that answers no
    /// question).
    #[error("the server cannot send the text of a notification (NOTIFY) in UTF-8")]
    Unreadable,
    /// The server sends more than the driver is to hold.
    #[error(
        "the server sends more than {most} bytes in one answer, and nothing that agent-sync asks \
        for is as large"
    )]
    TooMuch { most: u64 },
}
