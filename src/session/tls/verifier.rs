//! The verifier of a server's certificate, in every mode with TLS.
//!
//! A server sends what it likes before it has proved anything, also where nothing is verified. The
//! search of rustls for a path to an authority tries the certificates of one name in every order,
//! and rustls copies all certificates for each session ticket. So [`Verifier`] is the only
//! verifier, and first refuses a [`LongChain`].
//!
//! Invariant: only at one name has the search a choice, and this is between two certificates. So it
//! takes a few steps and checks a few signatures. Without a limit, their number grows with the
//! factorial of the number of certificates.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

/// The certificates that a server sends, when they are more than agent-sync takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected at most {} certificates of authorities besides the server's own, at most {} of them \
    with the name of another one, and at most {} bytes in all; found {authorities}, {repeated} \
    with the name of another one, and {bytes} bytes",
    LongChain::AUTHORITIES,
    LongChain::REPEATED,
    LongChain::BYTES
)]
pub struct LongChain {
    /// The number of certificates besides the server's own.
    pub authorities: usize,
    /// How many of them have the subject of an earlier one.
    pub repeated: usize,
    /// The length of all certificates together.
    pub bytes: usize,
}

impl LongChain {
    /// The most certificates besides the server's own. Usual servers send one to three.
    pub(super) const AUTHORITIES: usize = 8;

    /// The most that have the subject of an earlier one: such as an authority that another one has
    /// signed, too, or a certificate that stands in the file of the server twice.
    pub(super) const REPEATED: usize = 1;

    /// The most bytes of all certificates together. Usual ones have about 2 KiB each.
    pub(super) const BYTES: usize = 32 * 1024;

    /// Refuses more.
    fn check(own: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
        let mut found = Self {
            authorities: others.len(),
            repeated: 0,
            bytes: others
                .iter()
                .fold(own.len(), |sum, other| sum + other.len()),
        };
        let is_short = found.authorities <= Self::AUTHORITIES && found.bytes <= Self::BYTES;
        if is_short {
            found.repeated = repeated(others);
        }
        if is_short && found.repeated <= Self::REPEATED {
            return Ok(());
        }
        let error = CertificateError::Other(OtherError(Arc::new(found)));
        Err(Error::InvalidCertificate(error))
    }

    /// The cause of this error.
    pub(in crate::session) fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
                cause.downcast_ref()
            }
            _ => None,
        }
    }
}

/// How many of these have the subject of an earlier one. What is no certificate has none, and is no
/// step of a path either.
fn repeated(certificates: &[CertificateDer<'_>]) -> usize {
    let mut read = RootCertStore::empty();
    // The same reader as that of the search.
    read.add_parsable_certificates(certificates.iter().cloned());
    let names: HashSet<&[u8]> = read.roots.iter().map(|one| one.subject.as_ref()).collect();
    read.roots.len() - names.len()
}

/// The proof that the certificate of a server must give, as in libpq.
#[derive(Debug)]
pub(super) enum Proof {
    /// Nothing: any server that answers is trusted (`require`).
    None,
    /// That a known authority has signed it, for whatever name (`verify-ca`).
    Authority(Arc<WebPkiServerVerifier>),
    /// The name as well (`verify-full`).
    Name(Arc<WebPkiServerVerifier>),
}

/// Verifies the certificate of a server.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) proof: Proof,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        LongChain::check(certificate, intermediates)?;
        let (Proof::Authority(known) | Proof::Name(known)) = &self.proof else {
            return Ok(ServerCertVerified::assertion());
        };
        let verdict = known.verify_server_cert(certificate, intermediates, name, ocsp, now);
        // The name is looked at last, so an error about the name says that the rest is in order.
        match (&self.proof, verdict) {
            (
                Proof::Authority(_),
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                )),
            ) => Ok(ServerCertVerified::assertion()),
            (_, verdict) => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
