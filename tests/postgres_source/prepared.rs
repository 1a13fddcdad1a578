//! Two-phase commit at the source: a prepared transaction is applied when it is committed, whichever side was restarted
//! meanwhile, and never when it is rolled back.

use super::*;

on_both_servers! {
    prepared_transactions_come_with_their_commit,
    a_slot_for_two_phase_is_refused,
}

async fn prepared_transactions_come_with_their_commit(kind: Kind) {
    let options = Options {
        extra: vec![
            "max_prepared_transactions=10".to_owned(),
            "logical_decoding_work_mem=64kB".to_owned(),
        ],
        ..Options::default()
    };
    let mut db = private(kind, &options).await.with_accounts().await;
    db.exec(TWO).await;
    publish(&db, &["a", "b"]).await;
    let options = super::options(&db, &["a", "b"], Mode::Transactional).await;
    let from = snapshot::start_position(&options).await.unwrap();
    let mut source = Source::open(options.clone(), &from).await.unwrap();
    // Small ones, and large ones that are streamed before they are prepared.
    let small = |id: i32| format!("INSERT INTO a VALUES ({id}, 'x');");
    let large =
        |id: i32| format!("INSERT INTO a SELECT {id} + n, repeat('w', 100) FROM generate_series(0, 1999) n;");
    for (name, rows) in [
        ("small", small(1)),
        ("small_back", small(2)),
        ("large", large(10_000)),
        ("large_back", large(20_000)),
    ] {
        let mut session = db.session().await;
        session.exec("BEGIN").await;
        session.exec(&rows).await;
        session.exec(&format!("PREPARE TRANSACTION '{name}'")).await;
    }
    db.exec("INSERT INTO a VALUES (3, 'y')").await;
    let (parts, position) = drain(&db, &mut source).await;
    assert_eq!(story(&parts), "a+3,y |");
    // All that was read is durable at the target; then first we are started anew, then the server.
    source.confirm(&position);
    let name = slot_name(&options.sync, &options.target);
    let query =
        format!("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{name}'");
    harness::eventually(LIMIT, "the slot moves", async || {
        let moved = tokio::time::timeout(Duration::from_millis(50), source.next()).await;
        assert!(!matches!(moved, Ok(Ok(Step::Part(_)) | Err(_))));
        let flushed = Position::Lsn(parse_lsn(&db.one(&query).await).unwrap());
        flushed.covers(&position).unwrap()
    })
    .await;
    drop(source);
    let source = reopen(&options, &position).await;
    drop(source);
    db.server().kill().await;
    db.server().restart().await.unwrap();
    let mut source = reopen(&options, &position).await;
    for decision in [
        "ROLLBACK PREPARED 'small_back'",
        "COMMIT PREPARED 'large'",
        "ROLLBACK PREPARED 'large_back'",
        "COMMIT PREPARED 'small'",
    ] {
        db.session().await.exec(decision).await;
    }
    let (parts, _) = drain(&db, &mut source).await;
    let told = story(&parts);
    let told: Vec<&str> = told.split(' ').collect();
    assert_eq!(told.len(), 2000 + 1 + 2);
    assert_eq!((told[0], told[1999]), ("a+10000,www..100", "a+11999,www..100"));
    assert_eq!(told[2000..], ["|", "a+1,x", "|"]);
    assert_eq!(options.spill.used(), (0, 0));
    // What was confirmed never comes again; what was not, does.
    drop(source);
    let mut source = reopen(&options, &position).await;
    assert_eq!(
        drain(&db, &mut source)
            .await
            .0
            .iter()
            .map(|part| part.changes.len())
            .sum::<usize>(),
        2001
    );
}

async fn a_slot_for_two_phase_is_refused(kind: Kind) {
    let (db, options, source) = stream(kind, TWO, &["a", "b"], Mode::Transactional).await;
    drop(source);
    let name = slot_name(&options.sync, &options.target);
    harness::eventually(LIMIT, "the slot is free", async || {
        db.try_exec(&format!("SELECT pg_drop_replication_slot('{name}')"))
            .await
            .is_ok()
    })
    .await;
    let made = format!(
        "SELECT lsn::text FROM pg_create_logical_replication_slot('{name}', 'pgoutput', false, true)"
    );
    let from = Position::Lsn(parse_lsn(&db.one(&made).await).unwrap());
    let error = refused(&options, &from).await;
    assert!(
        !error.is_transient() && error.to_string().contains("two_phase"),
        "{error}"
    );
    assert!(error.hint_text().unwrap().contains("pg_drop_replication_slot"));
}
