//! Channel binding: the hash that ties a SCRAM login to the TLS connection it runs over.

use crate::access::signature_algorithm;
use rustls::crypto::ring;

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
}
