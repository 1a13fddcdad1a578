//! The packets of a login, and the command that turns its session into a dump. Pure.
//!
//! Owns: the server's greeting, our answer to it, what the server says next, and the dump requests. The log is read
//! over a connection of our own because the driver inflates a compressed transaction whole before it shows it, and
//! passes over one that it cannot inflate; everything else goes through the driver.
//! Refuses: `mysql_old_password` and sending a password in the clear; the caller names the plugin.
//! Fails: every parser gives `None` for what is cut or of no known form.

use super::Cursor;
use mysql_common::scramble::{scramble_native, scramble_sha256};

pub const NATIVE: &str = "mysql_native_password";
pub const CACHING_SHA2: &str = "caching_sha2_password";

const LONG_PASSWORD: u32 = 1;
const PROTOCOL_41: u32 = 1 << 9;
const TLS: u32 = 1 << 11;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
const OURS: u32 = LONG_PASSWORD | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH;

/// utf8mb4_general_ci, which both servers know.
const COLLATION: u8 = 45;
/// A row event may be as large as the protocol allows.
const PACKET_BYTES_MAX: u32 = 1 << 30;
const NONCE_BYTES: usize = 20;

/// What the server says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    capabilities: u32,
    /// The server's number of the session.
    pub session: u32,
    pub plugin: String,
    pub nonce: Vec<u8>,
}

impl Greeting {
    pub fn parse(packet: &[u8]) -> Option<Greeting> {
        let mut cursor = Cursor::new(packet);
        if cursor.u8()? != 10 {
            return None;
        }
        let _version = until_nul(&mut cursor)?;
        let session = cursor.u32()?;
        let mut nonce = cursor.take(8)?.to_vec();
        cursor.take(1)?;
        let low = u32::from(cursor.u16()?);
        let _collation_and_status = cursor.take(3)?;
        let capabilities = low | u32::from(cursor.u16()?) << 16;
        let len = usize::from(cursor.u8()?);
        cursor.take(10)?;
        // The last byte is a NUL that is not part of it.
        nonce.extend(cursor.take(len.saturating_sub(8).max(13))?);
        nonce.resize(NONCE_BYTES, 0);
        let plugin = until_nul(&mut cursor).unwrap_or(NATIVE.as_bytes());
        Some(Greeting {
            capabilities,
            session,
            plugin: String::from_utf8_lossy(plugin).into_owned(),
            nonce,
        })
    }

    pub fn has_tls(&self) -> bool {
        self.capabilities & TLS != 0
    }
}

/// Without a NUL: the rest.
fn until_nul<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let rest = cursor.rest();
    let Some(len) = rest.iter().position(|byte| *byte == 0) else {
        return cursor.take(rest.len()).filter(|bytes| !bytes.is_empty());
    };
    let text = cursor.take(len)?;
    cursor.take(1)?;
    Some(text)
}

fn head(capabilities: u32) -> Vec<u8> {
    let mut packet = capabilities.to_le_bytes().to_vec();
    packet.extend(PACKET_BYTES_MAX.to_le_bytes());
    packet.push(COLLATION);
    packet.extend([0; 23]);
    packet
}

/// Asks for TLS; the login follows inside of it.
pub fn tls_request() -> Vec<u8> {
    head(OURS | TLS)
}

pub fn response(user: &str, plugin: &str, proof: &[u8], is_encrypted: bool) -> Vec<u8> {
    let mut packet = head(if is_encrypted { OURS | TLS } else { OURS });
    packet.extend(user.as_bytes());
    packet.push(0);
    // A scramble has 20 or 32 bytes.
    packet.push(u8::try_from(proof.len()).unwrap_or(0));
    packet.extend(proof);
    packet.extend(plugin.as_bytes());
    packet.push(0);
    packet
}

/// The password, hashed with the server's nonce. `None`: a plugin that is not spoken here.
pub fn proof(plugin: &str, password: &str, nonce: &[u8]) -> Option<Vec<u8>> {
    // An empty password is proven by nothing.
    match plugin {
        NATIVE => Some(scramble_native(nonce, password.as_bytes()).map_or(Vec::new(), |hash| hash.to_vec())),
        CACHING_SHA2 => {
            Some(scramble_sha256(nonce, password.as_bytes()).map_or(Vec::new(), |hash| hash.to_vec()))
        }
        _ => None,
    }
}

/// The password for a connection that hides nothing, readable by the holder of `key` (PEM) only.
pub fn sealed(password: &str, nonce: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    const BEGIN: &[u8] = b"-----BEGIN PUBLIC KEY-----";
    if nonce.is_empty() || !key.starts_with(BEGIN) {
        return None;
    }
    let text = password.bytes().chain([0]);
    let hidden: Vec<u8> = text.zip(nonce.iter().cycle()).map(|(a, b)| a ^ b).collect();
    Some(mysql_common::crypto::encrypt(&hidden, key))
}

/// What the server answers to a login or a command.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    Ok,
    Refused {
        code: u16,
        state: String,
        message: String,
    },
    /// Prove the password by another plugin.
    Switch {
        plugin: String,
        nonce: Vec<u8>,
    },
    /// A step of the plugin's own.
    More(&'a [u8]),
    Unknown,
}

impl<'a> Answer<'a> {
    pub fn parse(packet: &'a [u8]) -> Answer<'a> {
        let mut cursor = Cursor::new(packet);
        match cursor.u8() {
            Some(0x00) => Answer::Ok,
            Some(0xff) => refused(&mut cursor).unwrap_or(Answer::Unknown),
            Some(0xfe) => match until_nul(&mut cursor) {
                Some(plugin) => {
                    let nonce = cursor.rest();
                    let nonce = nonce.strip_suffix(&[0]).unwrap_or(nonce);
                    Answer::Switch {
                        plugin: String::from_utf8_lossy(plugin).into_owned(),
                        nonce: nonce.to_vec(),
                    }
                }
                None => Answer::Unknown,
            },
            Some(0x01) => Answer::More(cursor.rest()),
            Some(_) | None => Answer::Unknown,
        }
    }
}

/// `code, [#state], message`: there is no state before the login is done.
fn refused<'a>(cursor: &mut Cursor<'a>) -> Option<Answer<'a>> {
    let code = cursor.u16()?;
    let rest = cursor.rest();
    let (state, message) = match rest.split_at_checked(6) {
        Some((state, message)) if state[0] == b'#' => (&state[1..], message),
        _ => (&b"HY000"[..], rest),
    };
    Some(Answer::Refused {
        code,
        state: String::from_utf8_lossy(state).into_owned(),
        message: String::from_utf8_lossy(message).into_owned(),
    })
}

pub fn query(statement: &str) -> Vec<u8> {
    let mut packet = vec![0x03];
    packet.extend(statement.as_bytes());
    packet
}

/// Names us in `SHOW REPLICAS`; the servers want it before a dump.
pub fn register(server_id: u32) -> Vec<u8> {
    let mut packet = vec![0x15];
    packet.extend(server_id.to_le_bytes());
    // No host, account, password, port, rank; its source is not told.
    packet.extend([0; 3 + 2 + 4 + 4]);
    packet
}

/// From a place in a file; without a name from wherever the session's settings say.
pub fn dump(server_id: u32, file: &str, offset: u32) -> Vec<u8> {
    let mut packet = vec![0x12];
    packet.extend(offset.to_le_bytes());
    packet.extend([0; 2]);
    packet.extend(server_id.to_le_bytes());
    packet.extend(file.as_bytes());
    packet
}

/// All transactions that are not in the set, as [`gtid_set`] packs it.
pub fn dump_gtid(server_id: u32, set: &[u8]) -> Vec<u8> {
    const THROUGH_GTID: u16 = 4;
    let mut packet = vec![0x1e];
    packet.extend(THROUGH_GTID.to_le_bytes());
    packet.extend(server_id.to_le_bytes());
    // No file name, from its begin.
    packet.extend(0_u32.to_le_bytes());
    packet.extend(4_u64.to_le_bytes());
    packet.extend(u32::try_from(set.len()).unwrap_or(u32::MAX).to_le_bytes());
    packet.extend(set);
    packet
}

/// A GTID set as the server packs it. With tags the format's first byte and the sources' form differ.
/// `None`: a source that is no UUID.
pub fn gtid_set<'a>(sources: impl Iterator<Item = (&'a str, &'a [(u64, u64)])>) -> Option<Vec<u8>> {
    let sources: Vec<_> = sources.collect();
    let has_tags = sources.iter().any(|(source, _)| source.contains(':'));
    let count = sources.len() as u64;
    let mut packed = match has_tags {
        false => count.to_le_bytes().to_vec(),
        // Format 1 in the highest byte; the lowest is reserved.
        true => (count << 8 | 1 << 56).to_le_bytes().to_vec(),
    };
    for (source, intervals) in sources {
        let (uuid, tag) = source.split_once(':').unwrap_or((source, ""));
        packed.extend(uuid_bytes(uuid)?);
        if has_tags {
            packed.extend(varlen(tag.len())?);
            packed.extend(tag.as_bytes());
        }
        packed.extend((intervals.len() as u64).to_le_bytes());
        for (low, high) in intervals {
            packed.extend(low.to_le_bytes());
            packed.extend((high + 1).to_le_bytes());
        }
    }
    Some(packed)
}

/// A tag's length in the serialization library's form; tags have at most 32 bytes.
fn varlen(len: usize) -> Option<[u8; 1]> {
    u8::try_from(len)
        .ok()
        .filter(|len| *len < 64)
        .map(|len| [len << 1])
}

fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let mut bytes = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting() -> Vec<u8> {
        let mut packet = vec![10];
        packet.extend(b"9.7.4\0\x07\0\0\0abcdefgh\0");
        packet.extend((0xffff_u16).to_le_bytes());
        packet.extend([45, 2, 0]);
        packet.extend((0x0008_u16).to_le_bytes());
        packet.push(21);
        packet.extend([0; 10]);
        packet.extend(b"ijklmnopqrst\0caching_sha2_password\0");
        packet
    }

    #[test]
    fn a_greeting_tells_session_nonce_plugin_and_tls() {
        let greeting = Greeting::parse(&greeting()).unwrap();
        assert_eq!(greeting.nonce, b"abcdefghijklmnopqrst");
        assert_eq!((greeting.session, greeting.plugin.as_str()), (7, CACHING_SHA2));
        assert!(greeting.has_tls());
    }

    #[test]
    fn cut_packets_are_none() {
        let packet = greeting();
        for len in 0..60 {
            let _ = Greeting::parse(&packet[..len]);
            let _ = Answer::parse(&packet[..len]);
        }
        assert_eq!(Greeting::parse(&packet[..20]), None);
        assert_eq!(Answer::parse(&[]), Answer::Unknown);
    }

    #[test]
    fn answers() {
        assert_eq!(Answer::parse(&[0, 0, 0]), Answer::Ok);
        assert_eq!(Answer::parse(&[1, 4]), Answer::More(&[4]));
        assert_eq!(
            Answer::parse(b"\xfemysql_native_password\0abcdefghijklmnopqrst\0"),
            Answer::Switch {
                plugin: NATIVE.to_owned(),
                nonce: b"abcdefghijklmnopqrst".to_vec()
            }
        );
        let Answer::Refused { code, state, message } = Answer::parse(b"\xff\x15\x04#28000Access denied")
        else {
            panic!()
        };
        assert_eq!((code, &*state, &*message), (1045, "28000", "Access denied"));
        let Answer::Refused { code, message, .. } = Answer::parse(b"\xff\x10\x04Too many") else {
            panic!()
        };
        assert_eq!((code, &*message), (1040, "Too many"));
    }

    #[test]
    fn sets_with_and_without_tags() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let plain = gtid_set([(uuid, &[(1, 5)][..])].into_iter()).unwrap();
        assert_eq!(plain.len(), 8 + 16 + 8 + 16);
        assert_eq!(plain[..8], 1_u64.to_le_bytes());
        assert_eq!(plain[8], 0x3e);
        assert_eq!(plain[40..48], 6_u64.to_le_bytes());
        let tagged = format!("{uuid}:blue");
        let both = gtid_set([(uuid, &[(1, 5)][..]), (&*tagged, &[(1, 1)][..])].into_iter()).unwrap();
        assert_eq!(both[..8], [0, 2, 0, 0, 0, 0, 0, 1]);
        assert_eq!(both.len(), 8 + 2 * (16 + 8 + 16) + 1 + 5);
        assert!(gtid_set([("x", &[][..])].into_iter()).is_none());
    }

    #[test]
    fn an_empty_password_is_proven_by_nothing() {
        assert_eq!(proof(NATIVE, "", &[1; 20]), Some(Vec::new()));
        assert_eq!(
            proof(CACHING_SHA2, "p", &[1; 20]).map(|hash| hash.len()),
            Some(32)
        );
        assert_eq!(proof("sha256_password", "p", &[1; 20]), None);
        assert_eq!(sealed("p", &[1; 20], b"no key"), None);
    }
}
