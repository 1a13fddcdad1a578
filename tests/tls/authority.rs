//! Certificates that are right, and certificates that are wrong in exactly one way.
//!
//! Owns: a certificate authority of the test's own, what it signs, and putting that in front of a running server.

use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use crate::harness::{Db, Kind, eventually};

/// A certificate (and what signed it) with its key, in PEM.
#[derive(Clone)]
pub(crate) struct Shown {
    pub certificate: String,
    pub key: String,
}

pub(crate) struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Good from and until, in years.
#[derive(Clone, Copy)]
pub(crate) struct Years(pub i32, pub i32);

pub(crate) const GOOD: Years = Years(2001, 2101);
pub(crate) const EXPIRED: Years = Years(2001, 2002);
pub(crate) const NOT_YET: Years = Years(2090, 2101);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = params(name, &[], GOOD, true);
        Authority {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// An authority that this one has signed; what it issues shows the whole chain.
    pub(crate) fn intermediate(&self) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = params("in between", &[], GOOD, true);
        Authority {
            pem: params.signed_by(&key, &self.issuer).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// `names` are those of the subjectAltName.
    pub(crate) fn sign(&self, common_name: &str, names: &[&str], years: Years) -> Shown {
        self.sign_key(&KeyPair::generate().unwrap(), common_name, names, years)
    }

    pub(crate) fn sign_key(&self, key: &KeyPair, common_name: &str, names: &[&str], years: Years) -> Shown {
        let params = params(common_name, names, years, false);
        Shown {
            certificate: params.signed_by(key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    pub(crate) fn chained(&self, shown: Shown) -> Shown {
        Shown {
            certificate: format!("{}{}", shown.certificate, self.pem),
            ..shown
        }
    }
}

/// As `openssl req -x509` makes it: its own authority.
pub(crate) fn self_signed(names: &[&str], years: Years) -> Shown {
    let key = KeyPair::generate().unwrap();
    Shown {
        certificate: params("alone", names, years, true)
            .self_signed(&key)
            .unwrap()
            .pem(),
        key: key.serialize_pem(),
    }
}

fn params(common_name: &str, names: &[&str], years: Years, is_ca: bool) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

/// From now on new connections to the server are shown this. `clients`: who signs the certificates of its clients.
pub(crate) async fn show(db: &mut Db, shown: &Shown, clients: &Authority) {
    let folder = db.server().socket_dir().to_owned();
    // Written in place: the files stay those of the server's account.
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("server.pem", &shown.certificate);
    write("server.key", &shown.key);
    write("ca.pem", &clients.pem);
    match db.kind() {
        // It takes a certificate that is not good for its own authority at a start only.
        Kind::Mysql => {
            let mut admin = db.admin().await;
            if admin.try_exec("ALTER INSTANCE RELOAD TLS").await.is_err() {
                db.server().restart().await.unwrap();
            }
        }
        Kind::Mariadb => db.admin().await.exec("FLUSH SSL").await,
        _ => {
            const LOADED: &str = "SELECT extract(epoch FROM pg_conf_load_time())";
            let before = db.session().await.one(LOADED).await;
            db.admin().await.exec("SELECT pg_reload_conf()").await;
            eventually(
                Duration::from_secs(20),
                "the server reads its files again",
                async || db.session().await.one(LOADED).await != before,
            )
            .await;
        }
    }
}

/// A file of the program's folder.
pub(crate) fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}
