//! What we show: client certificates that an account demands, in all forms of their keys, on every connection.

use std::path::Path;
use std::process::Command;

use rcgen::KeyPair;

use crate::authority::{Authority, EXPIRED, GOOD, file, show};
use crate::harness::Kind;
use crate::{Scene, connected, identity, on_all_engines};
use tidelock::access::TlsMode;
use tidelock::error::{Class, Reason};

on_all_engines!(asked_of_us);

/// The run account needs a certificate beside its password.
async fn strict(kind: Kind) -> Scene {
    if !kind.is_postgres() {
        let mut scene = Scene::new(kind, &[]).await;
        let alter = format!("ALTER USER {} REQUIRE X509", scene.db().run_account());
        scene.db().admin().await.exec(&alter).await;
        return scene;
    }
    let rules = tempfile::Builder::new()
        .prefix("tidelock-hba-")
        .tempfile()
        .unwrap();
    let lines = "hostssl all,replication +strict 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n\
                 host all,replication all 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(rules.path(), lines).unwrap();
    Command::new("chmod")
        .arg("644")
        .arg(rules.path())
        .status()
        .unwrap();
    // Read at each reload.
    let (_, path) = rules.keep().unwrap();
    let settings = [
        format!("hba_file={}", path.display()),
        "ssl_ca_file=../ca.pem".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut scene = Scene::new(kind, &settings).await;
    let grant = format!("CREATE ROLE strict; GRANT strict TO {}", scene.db().run_account());
    scene.db().admin().await.exec(&grant).await;
    scene
}

/// The key in another form, by openssl.
fn converted(folder: &Path, from: &str, to: &str, arguments: &[&str]) -> String {
    let target = folder.join(to);
    let status = Command::new("openssl")
        .args(["pkey", "-in", from, "-out"])
        .arg(&target)
        .args(arguments)
        .status();
    assert!(status.unwrap().success());
    target.display().to_string()
}

fn rsa(folder: &Path) -> KeyPair {
    let path = folder.join("rsa.key");
    let made = Command::new("openssl")
        .args([
            "genpkey",
            "-quiet",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
        ])
        .arg(&path)
        .status();
    assert!(made.unwrap().success());
    KeyPair::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap()
}

async fn asked_of_us(kind: Kind) {
    let mut scene = strict(kind).await;
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = scene.stage.lock.folder().to_owned();
    let ca = file(&folder, "ours.pem", &ours.pem);
    show(scene.db(), &ours.sign("db", &["127.0.0.1"], GOOD), &ours).await;
    let put = |name: &str, shown: &crate::authority::Shown| {
        (
            file(&folder, &format!("{name}.pem"), &shown.certificate),
            file(&folder, &format!("{name}.key"), &shown.key),
        )
    };
    let user = scene.db().run_account().to_owned();
    let good = put("good", &ours.sign(&user, &[], GOOD));
    let rsa_key = rsa(&folder);
    let rsa = put("rsa", &ours.sign_key(&rsa_key, &user, &[], GOOD));
    let foreign = put("foreign", &theirs.sign(&user, &[], GOOD));
    let expired = put("expired", &ours.sign(&user, &[], EXPIRED));
    let other = put("other", &ours.sign("somebody", &[], GOOD));
    let sec1 = converted(&folder, &good.1, "sec1.key", &["-traditional"]);
    let pkcs1 = converted(&folder, &rsa.1, "pkcs1.key", &["-traditional"]);
    let locked = converted(
        &folder,
        &good.1,
        "locked.key",
        &["-aes256", "-passout", "pass:word"],
    );
    for (path, form) in [
        (&sec1, "BEGIN EC PRIVATE"),
        (&pkcs1, "BEGIN RSA PRIVATE"),
        (&locked, "ENCRYPTED"),
    ] {
        assert!(std::fs::read_to_string(path).unwrap().contains(form), "{path}");
    }
    let nowhere = folder.join("nowhere.key").display().to_string();

    let not_taken: &[&str] = &["the server refused", "does not take our client certificate"];
    let missing: &[&str] = if kind.is_postgres() {
        &["client certificate", "sslcert"]
    } else {
        &["Access denied", "sslcert"]
    };
    let unreachable = Reason::Unreachable;
    let mut cases = vec![
        ("good, PKCS#8", identity(&good.0, &good.1), None),
        ("good, SEC1", identity(&good.0, &sec1), None),
        ("good, PKCS#1", identity(&rsa.0, &pkcs1), None),
        ("missing", None, Some((unreachable, missing))),
        (
            "foreign",
            identity(&foreign.0, &foreign.1),
            Some((unreachable, not_taken)),
        ),
        (
            "expired",
            identity(&expired.0, &expired.1),
            Some((unreachable, not_taken)),
        ),
        (
            "another's key",
            identity(&good.0, &rsa.1),
            Some((Reason::Config, &["one pair", "rsa.key"])),
        ),
        (
            "encrypted key",
            identity(&good.0, &locked),
            Some((Reason::Config, &["is encrypted", "openssl pkey"])),
        ),
        (
            "no key file",
            identity(&good.0, &nowhere),
            Some((Reason::Config, &["No such file", "sslkey"])),
        ),
        (
            "no certificate in it",
            identity(&good.1, &good.1),
            Some((Reason::Config, &["no certificate", "sslcert"])),
        ),
    ];
    let not_him = [user.as_str(), "client certificate's CN"];
    if kind.is_postgres() {
        // PostgreSQL compares the certificate's CN with the role.
        cases.push((
            "somebody's",
            identity(&other.0, &other.1),
            Some((unreachable, &not_him)),
        ));
    }
    for (name, shown, refused) in cases {
        let mut access = scene.access(TlsMode::VerifyFull, Some(&ca));
        access.identity = shown;
        match (connected(kind, &access).await, refused) {
            (Ok(()), None) => println!("{kind}, client certificate {name}: accepted"),
            (Err(error), Some((reason, words))) => {
                let said = format!("{error}\n{}", error.hint_text().unwrap_or_default());
                for word in words {
                    assert!(said.contains(word), "{name}: {word:?} is not in {said}");
                }
                assert_eq!(
                    (error.class(), error.reason_kind()),
                    (Class::Definite, reason),
                    "{name}: {error}"
                );
                println!("{kind}, client certificate {name}: refused, {error}");
            }
            (outcome, _) => panic!("{kind}, {name}: {outcome:?}"),
        }
    }

    // The whole program with it, the connection that reads the log included; and when it is taken away.
    scene.connects(&format!(
        "ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}&ssl-cert=good.pem&ssl-key=good.key"
    ));
    scene.checked(None).await;
    scene.stage.begin().await;
    scene.stage.start().await;
    file(&folder, "good.pem", &std::fs::read_to_string(&foreign.0).unwrap());
    file(&folder, "good.key", &std::fs::read_to_string(&foreign.1).unwrap());
    scene.cut().await;
    scene.stage.ends(6, not_taken).await;
    scene.checked(Some(not_taken)).await;
}
