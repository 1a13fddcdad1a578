//! Server settings that would lose rows: wrong at the start, and changed behind the back of a running program.

use crate::harness::Options;
use crate::on_both_pairs;
use crate::stage::{NOTICED, OLD, Pair, Stage, Way, mend};

on_both_pairs!(
    wal_level,
    binlog_at_start,
    binlog_while_running,
    database_kept_out
);

fn extra(settings: &[&str]) -> Options {
    Options {
        extra: settings.iter().map(ToString::to_string).collect(),
        ..Options::default()
    }
}

async fn wal_level(pair: Pair) {
    let mut stage = Stage::own_a("wal", pair, Way::Merge, &extra(&["wal_level=replica"])).await;
    let fix = stage
        .finding("a", "E201", &["wal_level = replica", "needs logical", "restart"])
        .await;
    // The rest can be set up: it is the server that must be mended.
    stage.lock.ok(&["setup", "--execute"]).await;
    let said = stage
        .refused_run(
            3,
            &["a: could not start", "E201", "wal_level = replica, needs logical"],
        )
        .await;
    assert_eq!(said.hint, fix);
    mend(&stage.a, &fix).await;
    stage.a.server().restart_with(&[]).await.unwrap();
    stage.runs().await;
    // And back again, which a server with slots refuses by itself; the level must be right after each restart.
    assert_eq!(stage.a.one("SHOW wal_level").await, "logical");
}

/// Variable, wrong value, code of the finding.
fn wrong_settings(stage: &Stage) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut list = vec![
        ("binlog_row_image", "MINIMAL", "E204"),
        ("binlog_row_image", "NOBLOB", "E204"),
        ("binlog_row_metadata", "MINIMAL", "E203"),
    ];
    list.extend([
        ("binlog_format", "STATEMENT", "E202"),
        ("binlog_format", "MIXED", "E202"),
    ]);
    match stage.mariadb() {
        true => list.extend([("binlog_row_metadata", "NO_LOG", "E203")]),
        false => list.extend([("binlog_row_value_options", "PARTIAL_JSON", "E205")]),
    }
    list
}

async fn binlog_at_start(pair: Pair) {
    let mut stage = Stage::own_b("start", pair, Way::Merge, &extra(&[])).await;
    stage.lock.ok(&["setup", "--execute"]).await;
    let list = wrong_settings(&stage);
    for (name, wrong, code) in &list {
        stage.b.as_dba(&format!("SET GLOBAL {name} = '{wrong}'")).await;
        let what = format!("{name}={wrong}, needs");
        let said = stage
            .refused_run(3, &["b: could not start", code, &what, name])
            .await;
        assert_eq!(said.hint, stage.finding("b", code, &[&what]).await);
        mend(&stage.b, &said.hint).await;
    }
    stage.runs().await;
    // All at once: the run names all, and check has the statement for each.
    for (name, wrong, _) in &list {
        stage.b.as_dba(&format!("SET GLOBAL {name} = '{wrong}'")).await;
    }
    let all: Vec<&str> = list.iter().flat_map(|(name, _, code)| [*code, *name]).collect();
    stage.refused_run(3, &all).await;
    for (name, _, code) in &list {
        if stage
            .b
            .one(&format!("SELECT @@GLOBAL.{name} IN ('FULL', 'ROW', '', '0')"))
            .await
            == "0"
        {
            mend(&stage.b, &stage.finding("b", code, &[name]).await).await;
        }
    }
    stage.runs().await;
}

/// A setting is changed and sessions write with it: either the watch or the log tells, and no row is lost.
async fn binlog_while_running(pair: Pair) {
    let mut stage = Stage::own_b("live", pair, Way::Merge, &extra(&[])).await;
    stage.begin().await;
    // Seen by the watch, with nothing written meanwhile: the mend is enough.
    stage.start().await;
    stage.b.as_dba("SET GLOBAL binlog_row_metadata = 'MINIMAL'").await;
    let said = stage
        .ends(
            3,
            &[
                "b: could not go on",
                "E203",
                "binlog_row_metadata=MINIMAL, needs FULL",
            ],
        )
        .await;
    mend(&stage.b, &said.hint).await;
    stage.runs().await;
    // Written with it: the rows are not in the log, so a new copy is asked for, now and at every later start.
    for (setting, write, words) in written_wrongly() {
        stage.start().await;
        let mut session = stage.b.admin().await;
        session.exec(setting).await;
        session.exec(write).await;
        drop(session);
        let words = [&["b: "], &words[..]].concat();
        stage.ends(7, &words).await;
        let said = stage.refused_run(7, &words).await;
        assert_eq!(stage.a.count("item WHERE word = 'unseen'").await, 0);
        stage.renew(&said, "b").await;
        assert!(
            stage.a.count("item WHERE word = 'unseen'").await > 0,
            "saved as the hint says"
        );
        stage
            .a
            .exec("UPDATE item SET word = 'seen' WHERE word = 'unseen'")
            .await;
        stage.runs().await;
    }
}

type Wrongly = (&'static str, &'static str, Vec<&'static str>);

/// What a session may set for itself, unseen by every look at the server's settings.
fn written_wrongly() -> Vec<Wrongly> {
    let update = "UPDATE item SET word = 'unseen' WHERE id < 3";
    vec![
        (
            "SET SESSION binlog_row_image = 'MINIMAL'",
            update,
            vec!["does not hold all columns", "binlog_row_image"],
        ),
        (
            "SET SESSION binlog_format = 'STATEMENT'",
            update,
            vec!["was logged as its text", "binlog_format"],
        ),
    ]
}

/// Without our database in the binlog an echo looks like a user's write: it must not start.
async fn database_kept_out(pair: Pair) {
    let mut stage = Stage::own_b("filter", pair, Way::Merge, &extra(&[])).await;
    stage.begin().await;
    for filter in ["--binlog-ignore-db=tidelock", "--binlog-do-db=other"] {
        stage.b.server().restart_with(&[filter]).await.unwrap();
        let words = [
            "b: could not start",
            "E208",
            "database tidelock is kept out of the binlog",
        ];
        let said = stage.refused_run(3, &words).await;
        assert!(
            said.hint.contains("my.cnf") && said.hint.contains("restart"),
            "{said:?}"
        );
        assert_eq!(
            said.hint,
            stage
                .finding("b", "E208", &["binlog_do_db, binlog_ignore_db"])
                .await
        );
        // As told: out of the server's configuration, and restarted.
        stage.b.server().restart_with(&[]).await.unwrap();
        stage.runs().await;
    }
    // While it runs: the server goes away and comes back with the filter.
    stage.start().await;
    stage
        .b
        .server()
        .restart_with(&["--binlog-ignore-db=tidelock"])
        .await
        .unwrap();
    stage
        .ends(3, &["b: ", "tidelock", "kept out of the binlog", "restart"])
        .await;
    stage.b.server().restart_with(&[]).await.unwrap();
    stage.runs().await;
}

/// MariaDB: the format is changed for the whole server while sessions write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn format_changed_under_load() {
    let mut stage = Stage::own_b("format", OLD, Way::Merge, &extra(&[])).await;
    stage.begin().await;
    stage.start().await;
    stage.b.as_dba("SET GLOBAL binlog_format = 'STATEMENT'").await;
    let mut session = stage.b.admin().await;
    session.exec("INSERT INTO item VALUES (60, 'unseen')").await;
    // Whoever is first tells: the log (a new copy) or the watch (the setting).
    let code = stage.lock.wait(NOTICED).await;
    let log = stage.lock.log();
    assert!(
        [3, 7].contains(&code) && log.contains("binlog_format"),
        "{code}: {log}"
    );
    let said = stage.refused_run(3, &["b: ", "E202", "binlog_format"]).await;
    mend(&stage.b, &said.hint).await;
    let said = stage
        .refused_run(7, &["item", "was logged as its text", "binlog_format"])
        .await;
    stage.renew(&said, "b").await;
    assert_eq!(stage.a.one("SELECT word FROM item WHERE id = 60").await, "unseen");
}
