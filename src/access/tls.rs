//! TLS towards every server, by rustls with the ring provider given explicitly.
//!
//! Owns: the four modes of [`TlsMode`] as one certificate verifier. Refuses: a process-wide default provider, which a second user of rustls in the process could change.
//! Fails: definite, because the next handshake meets the same certificates.

use super::{Access, TlsMode, ca_certificates};
use crate::error::{Error, Reason, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

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

/// Wraps a connected socket whose server expects TLS now.
pub(crate) async fn handshake(
    access: &Access,
    doing: &str,
    socket: TcpStream,
) -> Result<TlsStream<TcpStream>> {
    let failed = || Error::definite(doing).reason(Reason::Unreachable);
    let name = ServerName::try_from(access.host.clone())
        .map_err(|_| failed().why("the host is neither a name nor an address"))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client_config(access)?));
    connector.connect(name, socket).await.map_err(|error| {
        match error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            true => failed().because(error).hint("check sslmode and sslrootcert"),
            false => Error::transient(doing).reason(Reason::Unreachable).because(error),
        }
    })
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
