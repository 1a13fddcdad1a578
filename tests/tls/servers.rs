//! What the server shows: each certificate in each mode, refused or accepted as the mode says.

use crate::authority::{self, Authority, EXPIRED, GOOD, NOT_YET, Shown, file, show};
use crate::harness::{Kind, private};
use crate::{MODES, Scene, connected, on_all_engines};
use tidelock::access::TlsMode;
use tidelock::error::{Class, Reason};

on_all_engines!(shown_and_asked_for, replaced_under_a_running_link);

const HERE: &[&str] = &["127.0.0.1", "localhost"];

/// What verify-ca and verify-full say to it; `None`: they take it.
struct Case {
    name: &'static str,
    shown: Shown,
    ca: &'static str,
    by_ca: Option<&'static [&'static str]>,
    by_name: Option<&'static [&'static str]>,
}

fn cases(ours: &Authority, theirs: &Authority) -> Vec<Case> {
    const EXPIRES: Option<&[&str]> = Some(&["has expired", "2002-01-01", "sslmode=require"]);
    const TOO_EARLY: Option<&[&str]> = Some(&["not valid yet", "2090-01-01", "clocks"]);
    const UNKNOWN: Option<&[&str]> = Some(&["not signed by a CA of sslrootcert", "must name the CA file"]);
    const OWN: Option<&[&str]> = Some(&["signed by itself", "must name the server's own"]);
    const NAMED_ELSE: Option<&[&str]> = Some(&["127.0.0.1", "db.elsewhere.example", "sslmode=verify-ca"]);
    const NAMELESS: Option<&[&str]> = Some(&["not valid for any names", "(a CN does not count)"]);
    let between = ours.intermediate();
    let alone = authority::self_signed(HERE, GOOD);
    let alone_before = authority::self_signed(HERE, EXPIRED);
    let case = |name, shown, by_ca, by_name| Case {
        name,
        shown,
        ca: "ours.pem",
        by_ca,
        by_name,
    };
    vec![
        case("good", ours.sign("db", HERE, GOOD), None, None),
        case(
            "other name",
            ours.sign("db", &["db.elsewhere.example"], GOOD),
            None,
            NAMED_ELSE,
        ),
        case(
            "common name only",
            ours.sign("127.0.0.1", &[], GOOD),
            None,
            NAMELESS,
        ),
        case("expired", ours.sign("db", HERE, EXPIRED), EXPIRES, EXPIRES),
        case(
            "not yet valid",
            ours.sign("db", HERE, NOT_YET),
            TOO_EARLY,
            TOO_EARLY,
        ),
        case("wrong CA", theirs.sign("db", HERE, GOOD), UNKNOWN, UNKNOWN),
        case(
            "chain",
            between.chained(between.sign("db", HERE, GOOD)),
            None,
            None,
        ),
        case("broken chain", between.sign("db", HERE, GOOD), UNKNOWN, UNKNOWN),
        case("self-signed, unknown", alone.clone(), OWN, OWN),
        Case {
            ca: "alone.pem",
            ..case("self-signed, named", alone, None, None)
        },
        Case {
            ca: "before.pem",
            ..case("self-signed, expired", alone_before, EXPIRES, EXPIRES)
        },
    ]
}

async fn shown_and_asked_for(kind: Kind) {
    let mut scene = Scene::new(kind, &[]).await;
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = scene.stage.lock.folder().to_owned();
    file(&folder, "ours.pem", &ours.pem);
    for case in cases(&ours, &theirs) {
        show(scene.db(), &case.shown, &ours).await;
        if case.ca != "ours.pem" {
            file(&folder, case.ca, &case.shown.certificate);
        }
        let ca = folder.join(case.ca).display().to_string();
        for (mode, tls) in MODES {
            let (refused, ca) = match tls {
                TlsMode::Disable | TlsMode::Require => (None, None),
                TlsMode::VerifyCa => (case.by_ca, Some(ca.as_str())),
                TlsMode::VerifyFull => (case.by_name, Some(ca.as_str())),
            };
            let access = scene.access(tls, ca);
            let what = format!("{kind}, {}, {mode}", case.name);
            match (connected(kind, &access).await, refused) {
                (Ok(()), None) => println!("{what}: accepted"),
                (Err(error), Some(words)) => {
                    let said = format!("{error}\n{}", error.hint_text().unwrap_or_default());
                    for word in words {
                        assert!(said.contains(word), "{what}: {word:?} is not in {said}");
                    }
                    assert_eq!(
                        (error.class(), error.reason_kind()),
                        (Class::Definite, Reason::Unreachable),
                        "{what}: {error}"
                    );
                    println!("{what}: refused, {error}");
                }
                (outcome, _) => panic!("{what}: expected refusal {refused:?}, found {outcome:?}"),
            }
            let root = ca.map_or(String::new(), |ca| format!("&sslrootcert={ca}"));
            scene.connects(&format!("sslmode={mode}{root}"));
            scene.checked(refused).await;
        }
    }
}

/// MySQL and MariaDB let the run account in over TLS only.
async fn only_over_tls(scene: &mut Scene) {
    if !scene.kind.is_postgres() {
        let alter = format!("ALTER USER {} REQUIRE SSL", scene.db().run_account());
        scene.db().admin().await.exec(&alter).await;
    }
}

async fn replaced_under_a_running_link(kind: Kind) {
    let mut scene = Scene::new(kind, &[]).await;
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = scene.stage.lock.folder().to_owned();
    let ca = file(&folder, "ours.pem", &ours.pem);
    only_over_tls(&mut scene).await;
    let good = ours.sign("db", HERE, GOOD);
    show(scene.db(), &good, &ours).await;
    scene.connects(&format!("sslmode=verify-full&sslrootcert={ca}"));
    scene.stage.begin().await;
    let prefix = format!("{}: could not", scene.node());
    for (shown, words) in [
        (ours.sign("db", HERE, EXPIRED), "has expired"),
        (theirs.sign("db", HERE, GOOD), "not signed by a CA"),
        (
            ours.sign("db", &["db.elsewhere.example"], GOOD),
            "db.elsewhere.example",
        ),
    ] {
        scene.stage.start().await;
        show(scene.db(), &shown, &ours).await;
        scene.cut().await;
        scene.stage.ends(6, &[&prefix, "TLS", words]).await;
        show(scene.db(), &good, &ours).await;
    }
    // A renewed certificate needs nothing.
    scene.stage.start().await;
    show(scene.db(), &ours.sign("db", HERE, GOOD), &ours).await;
    scene.cut().await;
    scene.stage.write().await;
    scene.stage.wait_equal().await;
    let (code, _) = scene.stage.lock.term().await;
    assert_eq!(code, 0);
}

/// What MySQL makes for itself at its first start: no subjectAltName at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_that_mysql_makes_is_good_for_verify_ca() {
    let mut db = private(Kind::Mysql, &crate::Options::default()).await;
    let ca = db.server().socket_dir().join("data/ca.pem");
    let url: url::Url = db.url().parse().unwrap();
    let port = url.port().unwrap();
    let access = |tls| crate::Access {
        tls,
        ca_file: Some(ca.clone()),
        secret: crate::Secret::Plain("tidelock".to_owned().into()),
        ..crate::Access::new("my", "127.0.0.1", port, "tidelock", "")
    };
    tidelock::mysql::connect(&access(TlsMode::VerifyCa))
        .await
        .unwrap();
    let error = tidelock::mysql::connect(&access(TlsMode::VerifyFull))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not valid for any names"), "{error}");
}
