//! What the engines tell `status` and `conflicts`, asked of real servers through a configuration.
#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Kind, Options, access, private};
use tidelock::model::conflict::ConflictFilter;
use tidelock::model::position::Position;
use tidelock::model::stamp::Stamp;
use tidelock::{mysql, postgres};

/// One known sync, one checkpoint a minute old, one decided and one open conflict.
const ROWS: &str = "INSERT INTO tidelock.node (sync, `rank`, name, is_self, identity, config_hash) VALUES ('s', 1, 'a', false, 'x', 'h');
INSERT INTO tidelock.checkpoint (sync, link, lane, epoch, seq, position, origin, hop, segment, segment_number,
    config_hash, source_identity, moved_at) VALUES ('s', 'a->b', 0, 1, 7, 'lsn:0/10', 1, 1, 0, 0, 'h', 'x', MINUTE_AGO);
INSERT INTO tidelock.conflict (id, sync, link, schema_name, table_name, key_json, kind, operation, rule, outcome,
    detail, local_json, local_version, local_origin, source_position, source_committed_at) VALUES
    ('00000000000000000000000000000001', 's', 'a->b', 'shop', 't', '[1]', 'insert_exists', 'insert', 'newest', 'kept',
     'd', '{\"id\":1}', 9, 2, 'lsn:0/9', '1970-01-01 00:00:01.5'),
    ('00000000000000000000000000000002', 's', 'a->b', 'shop', 'u', '[2]', 'value_refused', 'update', 'newest', 'open',
     'd', NULL, NULL, NULL, 'lsn:0/9', '1970-01-01 00:00:02');";

fn filter() -> ConflictFilter {
    ConflictFilter::default()
}

fn judge(status: &tidelock::model::sync::LinkStatus) {
    let checkpoint = status.checkpoint.as_ref().unwrap();
    assert!(status.set_up);
    assert_eq!((checkpoint.seq, &checkpoint.position), (7, &Position::Lsn(16)));
    let age = status.checkpoint_age_ms.unwrap();
    assert!((60_000..90_000).contains(&age), "{age}");
    assert_eq!((status.conflicts_open, status.conflicts_total), (1, 2));
    let oldest = status.conflict_oldest_open_ms;
    assert!(oldest.is_some_and(|age| age < 90_000), "{oldest:?}");
}

#[tokio::test]
async fn postgres_tells_where_a_link_stands() {
    let db = private(Kind::Postgres18, &Options::default())
        .await
        .with_accounts()
        .await;
    db.grant(&[], true).await;
    let client = postgres::connect(&access("a", &db.run_url())).await.unwrap();
    assert!(
        !postgres::status::link_status(&client, "s", "a->b")
            .await
            .unwrap()
            .set_up
    );
    assert!(
        postgres::evidence::conflicts(&client, "s", &filter())
            .await
            .unwrap()
            .is_empty()
    );
    db.make_control_schema().await;
    db.grant(&[], true).await;
    assert!(
        !postgres::status::link_status(&client, "s", "a->b")
            .await
            .unwrap()
            .set_up
    );
    db.exec(
        &ROWS
            .replace('`', "\"")
            .replace("MINUTE_AGO", "now() - interval '1 minute'")
            .replace(".5'", ".5+00'")
            .replace(":02'", ":02+00'"),
    )
    .await;
    judge(&postgres::status::link_status(&client, "s", "a->b").await.unwrap());
    let all = postgres::evidence::conflicts(&client, "s", &filter())
        .await
        .unwrap();
    assert_eq!(all.iter().map(|found| found.number).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(
        (all[1].local_stamp, all[1].source_committed_at_us),
        (Some(Stamp::write(9, 2)), 1_500_000)
    );
    let narrow = ConflictFilter {
        table: Some("shop.u".to_owned()),
        only_open: true,
        limit: 1,
        ..filter()
    };
    assert_eq!(
        postgres::evidence::conflicts(&client, "s", &narrow)
            .await
            .unwrap()
            .len(),
        1
    );
    assert!(postgres::status::retained(&client, "s", "b").await.unwrap().lost);
    db.exec("SELECT pg_create_logical_replication_slot('tidelock_s_b', 'pgoutput')")
        .await;
    let kept = postgres::status::retained(&client, "s", "b").await.unwrap();
    assert!(
        !kept.lost && kept.reader_active == Some(false) && kept.retained_bytes.is_some(),
        "{kept:?}"
    );
}

async fn mysql_tells(kind: Kind) {
    let db = private(kind, &Options::default()).await.with_accounts().await;
    db.grant(&[], true).await;
    let mut conn = mysql::connect(&access("a", &db.run_url())).await.unwrap();
    assert!(
        !mysql::status::link_status(&mut conn, "s", "a->b")
            .await
            .unwrap()
            .set_up
    );
    assert!(
        mysql::evidence::conflicts(&mut conn, "s", &filter())
            .await
            .unwrap()
            .is_empty()
    );
    db.make_control_schema().await;
    db.grant(&[], true).await;
    db.exec(&ROWS.replace("MINUTE_AGO", "UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE"))
        .await;
    judge(&mysql::status::link_status(&mut conn, "s", "a->b").await.unwrap());
    let all = mysql::evidence::conflicts(&mut conn, "s", &filter())
        .await
        .unwrap();
    assert_eq!(all.iter().map(|found| found.number).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(
        (all[1].local_stamp, all[1].source_committed_at_us),
        (Some(Stamp::write(9, 2)), 1_500_000)
    );
    let narrow = ConflictFilter {
        table: Some("shop.u".to_owned()),
        only_open: true,
        limit: 1,
        ..filter()
    };
    assert_eq!(
        mysql::evidence::conflicts(&mut conn, "s", &narrow)
            .await
            .unwrap()
            .len(),
        1
    );
    let kept = mysql::status::retained(&mut conn, &Position::Lsn(1))
        .await
        .unwrap();
    assert!(!kept.limit.is_empty(), "{kept:?}");
}

#[tokio::test]
async fn mysql_tells_where_a_link_stands() {
    mysql_tells(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_tells_where_a_link_stands() {
    mysql_tells(Kind::Mariadb).await;
}
