//! TLS by rustls, in libpq's terms: what is verified depends on the mode, and nothing is ever
//! negotiated down.

mod verifier;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use verifier::LongChain;

use self::verifier::{Proof, Verifier};
use crate::settings::identity::Identity;
use crate::settings::{IdentityError, Tls, bounded};

/// The files of a connection with TLS.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    /// The authorities to trust: `tls_root_cert`.
    pub(super) roots: Option<PathBuf>,
    /// The certificate of the client and its key: `tls_cert` and `tls_key`.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

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
    /// The certificate of the client or its key cannot be used.
    #[error("{}: {}", .0.setting, .0.what)]
    Identity(IdentityError),
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

impl TlsError {
    /// The remedy.
    pub(super) fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Identity(error) => format!(
                "{}. Each attempt to connect reads both files again, without a reload or a \
                restart.",
                capitalized(&error.remedy)
            )
            .into(),
            Self::RootCert { .. } | Self::NoSystemRoots | Self::Unusable(_) => {
                "Check tls_root_cert of this database.".into()
            }
        }
    }
}

/// A remedy of the settings as a sentence. A command stays as it is.
fn capitalized(remedy: &str) -> String {
    let mut chars = remedy.chars();
    match chars.next() {
        Some(first) if !remedy.starts_with("chmod ") => first.to_uppercase().chain(chars).collect(),
        _ => remedy.to_owned(),
    }
}

/// The TLS connector of a connection.
pub(super) fn connector(mode: Tls, files: &Files) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable(error.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let algorithms = provider.signature_verification_algorithms;
    let known = || {
        let roots = Arc::new(roots(files.roots.as_deref())?);
        WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| unusable(&error))
    };
    let proof = match mode {
        Tls::Disable | Tls::Require => Proof::None,
        Tls::VerifyCa => Proof::Authority(known()?),
        Tls::VerifyFull => Proof::Name(known()?),
    };
    let verifier = Arc::new(Verifier { proof, algorithms });
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let Identity { chain, key } = Identity::read(cert, key).map_err(TlsError::Identity)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable(&error))?
        }
    };
    // Each connection has a connector of its own, so no session is ever resumed.
    config.resumption = Resumption::disabled();
    Ok(MakeRustlsConnect::new(config))
}

/// Whether the server refuses the certificate of the client, or misses it.
pub(super) fn is_about_the_client(error: &Error) -> bool {
    use AlertDescription as Alert;
    let Error::AlertReceived(alert) = error else {
        return false;
    };
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
            | Alert::CertificateRequired
    )
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
