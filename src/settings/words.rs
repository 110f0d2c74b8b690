//! The settings that take one of several words.

use serde::Deserialize;

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `Pretty` on a terminal and in systemd's journal, `Json` elsewhere.
    Auto,
    /// For people.
    Pretty,
    /// For machines.
    Json,
}

/// The reaction of an audit to an edited configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Repair {
    /// It is reported.
    Report,
    /// It is reported, and its agent is put into the outbox.
    Reconcile,
}

/// How a connection is encrypted. It is never negotiated down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// In the clear.
    Disable,
    /// Encrypted; the certificate is not verified.
    Require,
    /// The certificate is signed by a known authority.
    VerifyCa,
    /// The certificate is signed by a known authority and made out to the host.
    VerifyFull,
}
