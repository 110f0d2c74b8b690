//! TLS by rustls, in libpq's terms: what is verified depends on the mode, and nothing is ever
//! negotiated down.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::settings::{Tls, bounded};

/// Why the certificates of the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of `tls_root_cert` cannot be read, or holds no certificate.
    #[error("expected certificates in PEM form in tls_root_cert, {path}, and found {found}")]
    RootCert {
        /// The file.
        path: PathBuf,
        /// The found value.
        found: String,
    },
    /// The operating system has no certificates.
    #[error(
        "expected the operating system's root certificates, and found none: install them, or set \
        tls_root_cert"
    )]
    NoSystemRoots,
    /// The library does not take the certificates.
    #[error("the root certificates cannot be used: {0}")]
    Unusable(String),
}

/// The TLS connector of a connection.
pub(super) fn connector(
    mode: Tls,
    root_cert: Option<&Path>,
) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable(error.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let algorithms = provider.signature_verification_algorithms;
    let lenient = |authority| {
        Arc::new(Lenient {
            authority,
            algorithms,
        })
    };
    let verifier: Arc<dyn ServerCertVerifier> = match mode {
        Tls::Disable | Tls::Require => lenient(None),
        Tls::VerifyCa | Tls::VerifyFull => {
            let roots = Arc::new(roots(root_cert)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| unusable(&error))?;
            if mode == Tls::VerifyCa {
                lenient(Some(verifier))
            } else {
                verifier
            }
        }
    };
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Why a certificate is not accepted: what was expected, and what was found.
pub(super) fn rejection(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "expected one that an authority of tls_root_cert has signed, or one of the operating \
            system's where tls_root_cert is not set, and found one of another authority \
            (UnknownIssuer)"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

fn roots(root_cert: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = root_cert else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() {
            Err(TlsError::NoSystemRoots)
        } else {
            Ok(roots)
        };
    };
    let wrong = |found: String| TlsError::RootCert {
        path: path.to_owned(),
        found,
    };
    let text = bounded::read_text(path).map_err(|error| wrong(error.to_string()))?;
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        Err(wrong("none".to_owned()))
    } else {
        Ok(roots)
    }
}

/// Verifies less than the whole. As in libpq, `require` trusts any server that answers, and
/// `verify-ca` one with a certificate of a known authority, for whatever name.
#[derive(Debug)]
struct Lenient {
    /// The verifier of `verify-ca`.
    authority: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authority) = &self.authority else {
            return Ok(ServerCertVerified::assertion());
        };
        // The name is looked at last, so an error about the name says that the rest is in order.
        match authority.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
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
