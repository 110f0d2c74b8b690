//! The certificate of the client and its private key: `tls_cert` and `tls_key`.
//!
//! They are read when the settings are loaded, to report a mistake at once, and again for each
//! connection (G15), so a renewed certificate needs neither a reload nor a restart.
//!
//! Invariant: no text of the key is part of an error.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::bounded;
use super::mistake::{remedy_of_unreadable, shown};

/// A certificate with the certificates of its issuers, and its private key.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The certificate of the client comes first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// Why a certificate and its key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct IdentityError {
    /// The setting with the wrong file: `tls_cert` or `tls_key`.
    pub(crate) setting: &'static str,
    /// The expected and the found content, with the path of the file.
    pub(crate) what: String,
    /// The remedy.
    pub(crate) remedy: String,
}

const CERT: &str = "tls_cert";
const KEY: &str = "tls_key";

impl IdentityError {
    fn new(setting: &'static str, what: String, remedy: impl Into<String>) -> Self {
        Self {
            setting,
            what,
            remedy: remedy.into(),
        }
    }
}

impl Identity {
    /// Reads both files, and checks that they belong together.
    pub(crate) fn read(cert: &Path, key: &Path) -> Result<Self, IdentityError> {
        let identity = Self {
            chain: chain(cert)?,
            key: private_key(key)?,
        };
        let (chain, private) = (identity.chain.clone(), identity.key.clone_key());
        match CertifiedKey::from_der(chain, private, &ring::default_provider()) {
            Ok(_) => Ok(identity),
            Err(rustls::Error::InconsistentKeys(_)) => {
                let (cert, key) = (cert.display(), key.display());
                let what = format!(
                    "expected the key of the certificate {cert} in {key}, found another key"
                );
                let remedy = "name the certificate and the key that were made together";
                Err(IdentityError::new(KEY, what, remedy))
            }
            Err(error) => {
                let what = format!(
                    "expected a key of RSA, ECDSA or Ed25519 in {}, found one that cannot be used: \
                    {error}",
                    key.display()
                );
                Err(IdentityError::new(
                    KEY,
                    what,
                    "make a key of one of these kinds",
                ))
            }
        }
    }
}

/// The certificates of a PEM file.
fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let remedy = "name a readable PEM file with the certificate of the client, followed by those \
        of the authorities in between";
    let wrong = |what: String| IdentityError::new(CERT, what, remedy);
    let place = file.display();
    let bytes = bounded::read(file, bounded::LONGEST).map_err(|error| IdentityError {
        remedy: remedy_of_unreadable(&error, remedy).to_owned(),
        ..wrong(format!("cannot read {place}: {error}"))
    })?;
    let expected = format!("expected a certificate in PEM form in {place}");
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(wrong(format!("{expected}, found none"))),
        Ok(chain) => Ok(chain),
        // The error of the library may quote a line of the file.
        Err(_) => Err(wrong(format!("{expected}, found a damaged one"))),
    }
}

/// The private key of a PEM file that no other user can read.
fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let place = file.display();
    let unreadable = |error: std::io::Error| {
        let what = format!("cannot read {place}: {error}");
        let remedy = "name a readable PEM file with the key of tls_cert";
        IdentityError::new(KEY, what, remedy_of_unreadable(&error, remedy))
    };
    let bytes = bounded::read(file, bounded::LONGEST).map_err(unreadable)?;
    let metadata = fs::metadata(file).map_err(unreadable)?;
    let (mode, owner) = (metadata.mode() & 0o777, metadata.uid());
    if let Some(most) = exceeded(mode, owner) {
        let what = format!(
            "expected a key that no other user can read in {place}, found mode {mode:04o}: at most \
            0600, or 0640 if root owns it"
        );
        let remedy = format!("chmod {most} {}", shown(&place.to_string()));
        return Err(IdentityError::new(KEY, what, remedy));
    }
    if is_encrypted(&bytes) {
        let what =
            format!("expected a key without a passphrase in {place}, found an encrypted one");
        let remedy = "decrypt it: openssl pkey -in ENCRYPTED -out KEY, and chmod 0600 KEY";
        return Err(IdentityError::new(KEY, what, remedy));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        let what = format!("expected a private key in PEM form in {place}, found none");
        IdentityError::new(KEY, what, "name the PEM file with the key of tls_cert")
    })
}

/// The mode that libpq demands at most, where this mode gives more: a key of root may be read by
/// its group, because the users of a system-wide key are in that group.
fn exceeded(mode: u32, owner: u32) -> Option<&'static str> {
    match owner {
        0 => (mode & 0o037 != 0).then_some("0640"),
        _ => (mode & 0o077 != 0).then_some("0600"),
    }
}

/// Whether a PEM file has an encrypted key, in either of its forms.
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----",
        "Proc-Type: 4,ENCRYPTED",
    ]
    .iter()
    .any(|mark| text.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule of libpq: PostgreSQL's manual, Client Certificates.
    #[test]
    fn s16_a_key_has_the_modes_that_libpq_accepts() {
        for (mode, of_root, of_user) in [
            (0o400, None, None),
            (0o600, None, None),
            (0o700, None, None),
            (0o440, None, Some("0600")),
            (0o640, None, Some("0600")),
            (0o660, Some("0640"), Some("0600")),
            (0o650, Some("0640"), Some("0600")),
            (0o604, Some("0640"), Some("0600")),
            (0o644, Some("0640"), Some("0600")),
            (0o601, Some("0640"), Some("0600")),
        ] {
            let found = (exceeded(mode, 0), exceeded(mode, 1000));
            assert_eq!(found, (of_root, of_user), "{mode:o}");
        }
    }

    #[test]
    fn an_encrypted_key_is_known_in_both_forms() {
        for (pem, encrypted) in [
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", true),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
                true,
            ),
            ("-----BEGIN PRIVATE KEY-----\n", false),
            ("-----BEGIN EC PRIVATE KEY-----\n", false),
        ] {
            assert_eq!(is_encrypted(pem.as_bytes()), encrypted, "{pem}");
        }
    }
}
