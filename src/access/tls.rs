//! TLS towards every server, by rustls with the ring provider given explicitly.
//!
//! Owns: the four modes of [`TlsMode`] as one certificate verifier, client certificates, and what a failed handshake
//! means. Refuses: a process-wide default provider, which a second user of rustls in the process could change.
//! Fails: definite, because the next handshake meets the same certificates; each cause with what mends it.

use super::{Access, TlsMode, der};
use crate::error::{Error, Reason, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The client configuration for `access.tls`; `Disable` has none and is a mistake of the caller. Files are read anew
/// for each connection, as passwords are: a renewed certificate needs no restart.
pub fn client_config(access: &Access) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier::new(access, &provider)?);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::bug("set up TLS").because(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(identity) = &access.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(
        access,
        "read the client certificate",
        &identity.certificate,
        "sslcert",
    )?;
    let key = private_key(access, &identity.key)?;
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        broken_file(access, "use the client certificate", &identity.certificate, "sslcert")
            .why(format!("{error}; the key is {}", identity.key.display()))
            .hint("sslcert and sslkey must be one pair: the certificate first in its file, and the key it was made for")
    })
}

/// Wraps a connected socket whose server expects TLS now.
pub(crate) async fn handshake(
    access: &Access,
    doing: &str,
    socket: TcpStream,
) -> Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(access.host.clone()).map_err(|_| {
        Error::definite(doing)
            .reason(Reason::Unreachable)
            .why("the host is neither a name nor an address")
            .hint("check the host of the URL")
    })?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client_config(access)?));
    connector
        .connect(name, socket)
        .await
        .map_err(|error| match cause(&error) {
            Some(tls) => refused(access, doing, tls),
            None => Error::transient(doing)
                .reason(Reason::Unreachable)
                .because(error)
                .hint("the server cut the connection while TLS was set up; its log may say why"),
        })
}

/// The error of rustls in an I/O error, or in one that wraps it.
pub(crate) fn cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // It hides in an `io::Error`, whose `source` skips it.
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.get_ref()?.downcast_ref();
        }
        next = error.source();
    }
    None
}

/// What a handshake that failed means.
pub(crate) fn refused(access: &Access, doing: &str, error: &rustls::Error) -> Error {
    let (why, hint) = match error {
        rustls::Error::InvalidCertificate(wrong) => certificate_refused(access, wrong),
        rustls::Error::AlertReceived(alert) => {
            (format!("the server refused: {error}"), alert_hint(access, *alert))
        }
        _ => (
            error.to_string(),
            "check that the server offers TLS 1.2 or newer".to_owned(),
        ),
    };
    Error::definite(doing)
        .reason(Reason::Unreachable)
        .why(format!("TLS: {why}"))
        .hint(hint)
}

fn certificate_refused(access: &Access, wrong: &CertificateError) -> (String, String) {
    let authority = match &access.ca_file {
        Some(path) => format!("sslrootcert ({})", path.display()),
        None => "the system's certificates".to_owned(),
    };
    let date = |seconds: UnixTime| {
        let seconds = i64::try_from(seconds.as_secs()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_second(seconds).map_or(String::new(), |time| time.to_string())
    };
    let renew = "give the server a certificate that is good now, and check the clocks; sslmode=require encrypts without \
                 looking at it";
    match wrong {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            format!("the server's certificate is not signed by a CA of {authority}"),
            "sslrootcert must name the CA file that signed the server's certificate".to_owned(),
        ),
        CertificateError::ExpiredContext { not_after, .. } => (
            format!("the server's certificate, or one that signed it, has expired: it was good until {}", date(*not_after)),
            renew.to_owned(),
        ),
        CertificateError::NotValidYetContext { not_before, .. } => (
            format!("the server's certificate, or one that signed it, is not valid yet: it is good from {}", date(*not_before)),
            renew.to_owned(),
        ),
        CertificateError::NotValidForNameContext { .. } | CertificateError::NotValidForName => (
            wrong.to_string(),
            "verify-full compares the URL's host with the certificate's subjectAltName (a CN does not count): connect by \
             one of these names, give the server a certificate with this one, or say sslmode=verify-ca"
                .to_owned(),
        ),
        other if other.to_string().contains("CaUsedAsEndEntity") => (
            format!("the server's certificate is signed by itself, and is none of {authority}"),
            "sslrootcert must name the server's own certificate, if that one is to be trusted; or give the server one that \
             a CA has signed"
                .to_owned(),
        ),
        other => (
            format!("the server's certificate: {other}"),
            format!("make the server a certificate of X.509 version 3 that is no CA's own, signed by a CA of {authority}"),
        ),
    }
}

/// The server's last word on a handshake, where that is about us.
fn alert_hint(access: &Access, alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    let text = match (alert, &access.identity) {
        (Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity, _) => {
            "check that the server offers TLS 1.2 or newer, with a key and ciphers of today"
        }
        (_, None) => "does the server ask for a client certificate? give it with sslcert and sslkey",
        (_, Some(_)) => {
            "the server does not take our client certificate: sslcert must be signed by a CA of the server's ssl_ca_file \
             (PostgreSQL) or ssl_ca (MySQL, MariaDB) and be good today"
        }
    };
    text.to_owned()
}

/// The certificates that a server's must be signed by: of the CA file, or the system's.
fn authorities(access: &Access) -> Result<Vec<CertificateDer<'static>>> {
    if let Some(path) = &access.ca_file {
        return certificates(access, "read the CA certificates", path, "sslrootcert");
    }
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return Err(Error::definite("load the system's CA certificates")
            .node(&access.node)
            .reason(Reason::Config)
            .why("there are none")
            .hint("install ca-certificates, or name the CA file with sslrootcert"));
    }
    Ok(found)
}

fn certificates(
    access: &Access,
    doing: &str,
    path: &Path,
    parameter: &str,
) -> Result<Vec<CertificateDer<'static>>> {
    let failed = |why: String| {
        broken_file(access, doing, path, parameter).why(why).hint(format!(
            "{parameter} must name a PEM file with at least one certificate"
        ))
    };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    let found: Vec<_> = found
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.to_string()))?;
    if found.is_empty() {
        return Err(failed("there is no certificate in it".to_owned()));
    }
    Ok(found)
}

/// PKCS#8, PKCS#1 or SEC1 in PEM, not encrypted.
fn private_key(access: &Access, path: &Path) -> Result<PrivateKeyDer<'static>> {
    let failed = |why: String| broken_file(access, "read the client key", path, "sslkey").why(why);
    let text = std::fs::read(path).map_err(|error| {
        failed(error.to_string()).hint("check sslkey, and that this user may read the file")
    })?;
    let words = String::from_utf8_lossy(&text);
    if words.contains("BEGIN ENCRYPTED PRIVATE KEY") || words.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(failed("it is encrypted".to_owned()).hint(format!(
            "take the passphrase off and let the file's permissions guard it: openssl pkey -in {} -out NEW; chmod 600 NEW",
            path.display()
        )));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        failed(error.to_string()).hint(
            "sslkey must name a PEM file with a private key (PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY)",
        )
    })
}

fn broken_file(access: &Access, doing: &str, path: &Path, parameter: &str) -> Error {
    Error::definite(format!("{doing} of {} ({parameter})", path.display()))
        .node(&access.node)
        .reason(Reason::Config)
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
        let found = authorities(access)?;
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
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            within_dates(end_entity, now)?;
        } else {
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

/// What the chain's verification does for certificates that have one.
fn within_dates(certificate: &[u8], now: UnixTime) -> Result<(), rustls::Error> {
    let (first, last) = der::validity(certificate).ok_or(CertificateError::BadEncoding)?;
    let at = |seconds: i64| {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds.max(0).unsigned_abs()))
    };
    let (not_before, not_after) = (at(first), at(last));
    if now < not_before {
        return Err(CertificateError::NotValidYetContext {
            time: now,
            not_before,
        }
        .into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    Ok(())
}
