//! TLS towards PostgreSQL, by rustls with the ring provider given explicitly.
//!
//! Owns: the four modes of [`TlsMode`] as one certificate verifier, and the hash that binds SCRAM to
//! the channel. Refuses: a process-wide default provider, which a second user of rustls in the process could change.
//! Fails: a failed handshake is reported by whoever connects.

use crate::access::{Access, TlsMode, ca_certificates};
use crate::error::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// The client configuration for `access.tls`; `Disable` has none and is a mistake of the caller.
pub fn client_config(access: &Access) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier::new(access, &provider)?);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::bug("set up TLS").because(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

#[derive(Debug)]
struct Verifier {
    mode: TlsMode,
    roots: RootCertStore,
    /// Certificates of the CA file: a server that shows exactly one of them is trusted by it, which is how
    /// self-signed server certificates are used. (webpki refuses a CA certificate as a server's.)
    pinned: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(access: &Access, provider: &CryptoProvider) -> Result<Self> {
        let mut verifier = Verifier {
            mode: access.tls,
            roots: RootCertStore::empty(),
            pinned: Vec::new(),
            algorithms: provider.signature_verification_algorithms,
        };
        match access.tls {
            TlsMode::Disable => return Err(Error::bug("set up TLS where it is disabled").node(&access.node)),
            TlsMode::Require => return Ok(verifier),
            TlsMode::VerifyCa | TlsMode::VerifyFull => {}
        }
        let found = ca_certificates(access)?;
        if access.ca_file.is_some() {
            verifier.pinned.clone_from(&found);
        }
        verifier.roots.add_parsable_certificates(found);
        Ok(verifier)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.mode == TlsMode::Require {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !self.pinned.iter().any(|pinned| pinned == end_entity) {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        if self.mode == TlsMode::VerifyFull {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// `tls-server-end-point` of RFC 5929 for a server's certificate: its hash by the hash of its signature
/// algorithm, SHA-256 for the weak ones. `None` where that hash is not at hand (SHA-512, EdDSA, PSS parameters): the
/// login then goes without channel binding.
pub(crate) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let hash = match signature_algorithm(certificate)? {
        // {md5,sha1,sha256}WithRSAEncryption
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 4 | 5 | 11]
        // ecdsa-with-SHA1, ecdsa-with-SHA256
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02] => ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        // sha384WithRSAEncryption, ecdsa-with-SHA384
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 12]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03] => ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        _ => return None,
    };
    let suite = hash.tls13()?;
    Some(suite.common.hash_provider.hash(certificate).as_ref().to_vec())
}

/// The OID in `Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { OID, .. }, .. }`.
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (body, _) = element(certificate, 0x30)?;
    let (_, after) = element(body, 0x30)?;
    let (algorithm, _) = element(after, 0x30)?;
    Some(element(algorithm, 0x06)?.0)
}

/// Contents of the DER element with this tag at the front, and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = input.split_first()?;
    let (short, rest) = rest.split_first()?;
    if *found != tag {
        return None;
    }
    let (length, rest) = match *short {
        length @ 0..=0x7f => (usize::from(length), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let length = digits
                .iter()
                .fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_algorithm_is_found_and_decides_the_hash() {
        let oid = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
        let mut certificate = vec![0x30, 15, 0x30, 1, 7, 0x30, 10, 0x06, 8];
        certificate.extend_from_slice(&oid);
        assert_eq!(signature_algorithm(&certificate), Some(&oid[..]));
        assert_eq!(end_point(&certificate).map(|hash| hash.len()), Some(32));
        certificate[16] = 3;
        assert_eq!(end_point(&certificate).map(|hash| hash.len()), Some(48));
        certificate[16] = 4;
        assert_eq!(end_point(&certificate), None);
    }

    #[test]
    fn cut_certificates_are_no_panic() {
        let certificate = [0x30, 0x82, 0xff, 0xff, 0x30, 0x84, 1, 2, 3];
        for length in 0..certificate.len() {
            assert_eq!(end_point(&certificate[..length]), None);
        }
    }
}
