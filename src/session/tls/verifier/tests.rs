use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair,
};
use rustls::crypto::ring;
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};

use super::*;

/// Takes no signature for valid, and counts.
#[derive(Debug)]
struct Counter(AtomicUsize);

static COUNTER: Counter = Counter(AtomicUsize::new(0));
static ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 1] = [&COUNTER];

impl SignatureVerificationAlgorithm for Counter {
    fn verify_signature(&self, _: &[u8], _: &[u8], _: &[u8]) -> Result<(), InvalidSignature> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA256
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// The names of as many authorities as a server may send.
const NAMES: [&str; LongChain::AUTHORITIES] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Whatever authority claims to have signed what, and whatever names come twice: the search among
/// the certificates that are taken has few steps. There is a known authority of each name, so each
/// step looks at a signature.
#[test]
fn s29_a_search_among_the_most_certificates_has_few_steps() {
    let key = || KeyPair::generate().unwrap_or_else(|error| panic!("{error}"));
    let mut roots = RootCertStore::empty();
    for name in NAMES {
        let root = CertifiedIssuer::self_signed(named(name), key());
        let root = root.unwrap_or_else(|error| panic!("{error}"));
        assert!(roots.add(root.der().clone()).is_ok());
    }
    let mut provider = ring::default_provider();
    provider.signature_verification_algorithms.all = &ALGORITHMS;
    let algorithms = provider.signature_verification_algorithms;
    let known = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider));
    let proof = Proof::Name(known.build().unwrap_or_else(|error| panic!("{error}")));
    let verifier = Verifier { proof, algorithms };
    let (keys, signing, mut most) = (NAMES.map(|_| key()), key(), 0);
    let signed = |params: CertificateParams, key: &KeyPair, issuer: &str| {
        let issuer = Issuer::new(named(issuer), &signing);
        let signed = params.signed_by(key, &issuer);
        signed
            .unwrap_or_else(|error| panic!("{error}"))
            .der()
            .clone()
    };
    let params = CertificateParams::new(vec!["db".to_owned()]);
    let own = signed(params.unwrap_or_default(), &signing, "a");
    let server = ServerName::try_from("db").unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..1000 {
        let mut names = NAMES;
        for _ in 0..fastrand::usize(..4) {
            names[fastrand::usize(..NAMES.len())] = names[0];
        }
        let issuers = names.map(|_| names[fastrand::usize(..NAMES.len())]);
        let others: Vec<_> = (0..NAMES.len())
            .map(|number| signed(named(names[number]), &keys[number], issuers[number]))
            .collect();
        COUNTER.0.store(0, Ordering::Relaxed);
        let verdict = verifier.verify_server_cert(&own, &others, &server, &[], UnixTime::now());
        let checks = COUNTER.0.load(Ordering::Relaxed);
        assert!(verdict.is_err());
        assert!(checks <= 14, "{names:?} {issuers:?}: {checks}");
        most = most.max(checks);
    }
    assert!(most > 6, "{most}: no search had a choice");
}
