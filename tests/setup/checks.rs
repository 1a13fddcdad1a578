//! Each finding of `check`, provoked.

use crate::harness::{Kind, Options, private};
use crate::node::{Engine, Node, codes};
use crate::on_every_server;
use tidelock::model::schema::TableId;
use tidelock::model::sync::{Level, Mode};

async fn missing_tables_and_keys(kind: Kind) {
    let ddl = "CREATE TABLE keyless (a int NOT NULL UNIQUE); CREATE VIEW seen AS SELECT a FROM keyless";
    let mut node = Node::new(kind, "tables", ddl, &["keyless", "seen", "nowhere"]).await;
    node.let_look().await;
    let findings = node.check().await;
    let of = |code: &str| {
        findings
            .iter()
            .find(|finding| finding.code == code)
            .unwrap_or_else(|| panic!("{code}"))
    };
    assert!(of("E301").fix.as_deref().unwrap().contains("ADD PRIMARY KEY"));
    assert!(of("E301").fix.as_deref().unwrap().contains('a'));
    assert!(of("E303").table.as_deref().unwrap().ends_with(".seen"));
    assert!(of("E302").table.as_deref().unwrap().ends_with(".nowhere"));
    let error = node.try_setup().await.unwrap_err();
    assert_eq!(error.exit_code(), 3);
}

async fn triggers_and_foreign_keys_of_the_user(kind: Kind) {
    let ddl = "CREATE TABLE parent (id int PRIMARY KEY);
        CREATE TABLE t (id int PRIMARY KEY, p int, CONSTRAINT up FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)";
    let mut node = Node::new(kind, "foreign", ddl, &["t"]).await;
    let trigger = match node.is_postgres() {
        true => {
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
                 CREATE TRIGGER audit BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION touch();
                 CREATE TRIGGER zzz BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch();
                 CREATE TRIGGER guarded BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch();
                 ALTER TABLE t ENABLE ALWAYS TRIGGER audit"
        }
        false => "CREATE TRIGGER audit BEFORE INSERT ON t FOR EACH ROW SET NEW.p = NEW.p",
    };
    node.exec(trigger).await;
    if !node.is_postgres() {
        node.exec("CREATE TRIGGER guarded BEFORE UPDATE ON t FOR EACH ROW SET NEW.p = IF(@tidelock_apply IS NULL, NEW.p + 1, NEW.p)")
            .await;
    }
    node.let_look().await;
    let catalog = node.catalogs().await.remove(0).unwrap();
    assert_eq!(catalog.cascades, ["up: ON DELETE CASCADE"]);
    let guarded = |name: &str| {
        catalog
            .foreign_triggers
            .iter()
            .find(|trigger| trigger.name == name)
            .unwrap()
            .guarded
    };
    assert!(guarded("guarded") && !guarded("audit"));
    let found = node.check().await;
    let found = codes(&found);
    let wanted: &[&str] = match node.is_postgres() {
        true => &["E306", "E309"],
        false => &["E305", "E306"],
    };
    for code in wanted {
        assert!(found.contains(code), "{code} in {found:?}");
    }
    let watched = node.settings().await;
    let watched = codes(&watched);
    assert!(watched.contains(&"E306"));
    assert_eq!(watched.contains(&"E305"), !node.is_postgres(), "{watched:?}");
    let mend = match node.is_postgres() {
        true => "ALTER TABLE t ENABLE TRIGGER audit; DROP TRIGGER zzz ON t",
        false => "DROP TRIGGER audit; ALTER TABLE t DROP FOREIGN KEY up",
    };
    node.exec(mend).await;
    node.setup().await;
    assert_eq!(codes(&node.check().await), [] as [&str; 0]);
    if !node.is_postgres() {
        // Ours runs last, so it sees what the user's trigger makes of the row.
        node.exec("SET foreign_key_checks = 0; INSERT INTO t VALUES (1, 1); UPDATE t SET p = p")
            .await;
        assert_eq!(node.db.one("SELECT tidelock_version FROM t").await, "2");
        node.exec("CREATE TRIGGER later BEFORE UPDATE ON t FOR EACH ROW SET NEW.p = IF(@tidelock_apply IS NULL, NEW.p + 1, NEW.p)")
            .await;
        assert_eq!(codes(&node.check().await), ["E403"]);
        node.setup().await;
        assert_eq!(codes(&node.check().await), [] as [&str; 0]);
    }
}

async fn what_is_taken_away_is_missed(kind: Kind) {
    let mut node = Node::new(kind, "missed", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    node.setup().await;
    let trigger = match node.is_postgres() {
        true => "SELECT tgname FROM pg_trigger WHERE tgname LIKE 'zz_tidelock_bu%'".to_owned(),
        false => format!(
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{}' AND TRIGGER_NAME LIKE 'tidelock_bu%'",
            node.db.name()
        ),
    };
    let trigger = node.db.one(&trigger).await;
    let drop = match node.is_postgres() {
        true => format!("ALTER TABLE t DISABLE TRIGGER {trigger}; ALTER TABLE t REPLICA IDENTITY DEFAULT"),
        false => format!("DROP TRIGGER {trigger}"),
    };
    node.exec(&drop).await;
    assert_eq!(codes(&node.settings().await), ["E403"]);
    assert_eq!(codes(&node.check().await), ["E403"]);
    node.setup().await;
    if node.is_postgres() {
        let name = format!("tidelock_{}", node.scope.sync);
        node.exec(&format!("ALTER PUBLICATION {name} SET (publish = 'insert')"))
            .await;
        assert_eq!(codes(&node.settings().await), ["E404"]);
        node.setup().await;
        // Only a superuser can make that, and only he can mend it.
        let all = format!("DROP PUBLICATION {name}; CREATE PUBLICATION {name} FOR ALL TABLES");
        node.db.as_dba(&all).await;
        assert_eq!(codes(&node.check().await), ["E404"]);
        let error = node.try_setup().await.unwrap_err();
        assert!(
            error.to_string().contains("must be owner of publication"),
            "{error}"
        );
        let owner = std::mem::replace(&mut node.engine, Engine::open(&node.db, "tidelock").await);
        node.setup().await;
        node.engine = owner;
        let back = format!("ALTER PUBLICATION {name} OWNER TO {}", node.db.owner());
        node.db.as_dba(&back).await;
        node.exec(&format!("DROP PUBLICATION {name}")).await;
        assert_eq!(codes(&node.check().await), ["E404"]);
        node.setup().await;
    }
    node.exec("ALTER TABLE t DROP COLUMN tidelock_origin").await;
    assert_eq!(codes(&node.check().await), ["E403"]);
    let wrong = "ALTER TABLE t ADD COLUMN tidelock_origin int NOT NULL DEFAULT 0";
    node.exec(wrong).await;
    assert!(codes(&node.check().await).contains(&"E313"));
}

#[tokio::test]
async fn postgres_triggers_of_partitions() {
    for kind in [Kind::Postgres18, Kind::Postgres15] {
        let ddl = "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id);
                   CREATE TABLE t_0 PARTITION OF t FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
                   CREATE TABLE t_00 PARTITION OF t_0 FOR VALUES FROM (0) TO (10);
                   CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (100) TO (200)";
        let mut node = Node::new(kind, "triggers", ddl, &["t"]).await;
        node.setup().await;
        let made = "CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (200) TO (300);
                    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
                    CREATE TRIGGER audit BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION touch()";
        node.exec(made).await;
        node.setup().await;
        assert_eq!(codes(&node.settings().await), [] as [&str; 0]);
        assert_eq!(codes(&node.check().await), [] as [&str; 0]);
        let ours =
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 't_1'::regclass AND tgname LIKE 'zz_tidelock_bu%'";
        let ours = node.db.one(ours).await;
        let cases = [
            (
                format!("ALTER TABLE t_1 DISABLE TRIGGER {ours}"),
                "E403",
                "\"t_1\"",
            ),
            (
                format!("ALTER TABLE t_00 ENABLE ALWAYS TRIGGER {ours}"),
                "E403",
                "\"t_00\"",
            ),
            (format!("ALTER TABLE t DISABLE TRIGGER {ours}"), "E403", "\"t\""),
            (
                "ALTER TABLE t_00 ENABLE ALWAYS TRIGGER audit".to_owned(),
                "E306",
                "\"t_00\"",
            ),
            (
                "ALTER TABLE t_0 ENABLE REPLICA TRIGGER audit".to_owned(),
                "E306",
                "\"t_0\"",
            ),
            (
                "CREATE TRIGGER alone BEFORE UPDATE ON t_2 FOR EACH ROW EXECUTE FUNCTION touch();
                 ALTER TABLE t_2 ENABLE ALWAYS TRIGGER alone"
                    .to_owned(),
                "E306",
                "\"t_2\"",
            ),
        ];
        for (statements, code, place) in cases {
            node.exec(&statements).await;
            let watched = node.settings().await;
            let found: Vec<_> = watched
                .iter()
                .filter(|finding| finding.level == Level::Blocker)
                .collect();
            assert_eq!(found.len(), 1, "{statements}: {found:?}");
            assert_eq!(
                (found[0].code, found[0].table.as_deref()),
                (code, Some("public.t")),
                "{statements}"
            );
            let fix = found[0].fix.as_deref().unwrap();
            assert!(
                fix.contains(&format!("\"public\".{place} ENABLE TRIGGER")),
                "{fix}"
            );
            assert_eq!(codes(&node.check().await), [code], "{statements}");
            // Setup mends ours, the statement the user's.
            match code {
                "E403" => assert_ne!(node.setup().await, [] as [&str; 0]),
                _ => node.exec(fix).await,
            }
            assert_eq!(codes(&node.settings().await), [] as [&str; 0], "{statements}");
            assert_eq!(codes(&node.check().await), [] as [&str; 0], "{statements}");
        }
        // Only who writes the catalogs by hand can take a copy away.
        let gone = format!(
            "SET allow_system_table_mods = on; DELETE FROM pg_trigger WHERE tgrelid = 't_1'::regclass AND tgname = '{ours}'"
        );
        node.db.as_dba(&gone).await;
        assert_eq!(codes(&node.settings().await), ["E403"]);
        assert_eq!(codes(&node.check().await), ["E403"]);
        node.setup().await;
        assert_eq!(codes(&node.settings().await), [] as [&str; 0]);
    }
}

async fn one_table_has_one_merge_sync(kind: Kind) {
    let mut node = Node::new(kind, "shared", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    node.setup().await;
    node.scope.sync.push_str("_b");
    assert!(codes(&node.check().await).contains(&"E310"));
}

async fn accounts_without_grants(kind: Kind) {
    let mut node = Node::new(kind, "grants", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    let user = format!("poor_{}", node.db.run_account());
    let rich = std::mem::replace(&mut node.scope.run_user, user.clone());
    let create = match node.is_postgres() {
        true => format!("CREATE ROLE {user} LOGIN PASSWORD '{user}'"),
        false => format!(
            "CREATE USER {user} IDENTIFIED BY '{user}'; GRANT SELECT ON {}.t TO {user}",
            node.db.name()
        ),
    };
    node.db.as_dba(&create).await;
    let findings = node.check().await;
    let found = codes(&findings);
    let wanted: &[&str] = match node.is_postgres() {
        true => &["E102", "E104", "E105"],
        false => &["E102", "E103", "E105", "E108"],
    };
    for code in wanted {
        assert!(found.contains(code), "{code} in {found:?}");
    }
    // Each fix is SQL: of the owner where it is about his tables, of a superuser where it is about the account.
    for finding in findings
        .iter()
        .filter(|finding| finding.code.starts_with("E10") && finding.code != "E108")
    {
        let fix = finding.fix.as_deref().unwrap().trim_end_matches(';');
        match node.is_postgres() && finding.code != "E105" {
            true => node.db.as_dba(fix).await,
            false => node.exec(fix).await,
        }
    }
    let found = node.check().await;
    assert!(
        !codes(&found).iter().any(|code| wanted[..3].contains(code)),
        "{:?}",
        codes(&found)
    );
    node.scope.run_user = rich;
    let drop = match node.is_postgres() {
        true => format!("DROP OWNED BY {user}; DROP ROLE {user}"),
        false => format!("DROP USER {user}"),
    };
    node.db.as_dba(&drop).await;
}

on_every_server!(
    missing_tables_and_keys,
    triggers_and_foreign_keys_of_the_user,
    what_is_taken_away_is_missed,
    one_table_has_one_merge_sync,
    accounts_without_grants,
);

#[tokio::test]
async fn postgres_tables_that_cannot_be_carried() {
    for kind in [Kind::Postgres18, Kind::Postgres15] {
        let ddl = "CREATE UNLOGGED TABLE u (id int PRIMARY KEY);
                   CREATE TABLE d (id int PRIMARY KEY DEFERRABLE);
                   CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent);
                   CREATE TABLE ruled (id int PRIMARY KEY);
                   CREATE RULE r AS ON DELETE TO ruled DO INSTEAD NOTHING;
                   ALTER TABLE ruled ENABLE ALWAYS RULE r";
        let mut node = Node::new(kind, "odd", ddl, &["u", "d", "parent", "ruled"]).await;
        let found = node.check().await;
        for code in ["E304", "E307", "E331", "E332"] {
            assert!(codes(&found).contains(&code), "{code}");
        }
        if kind == Kind::Postgres18 {
            node.exec("CREATE TABLE v (id int PRIMARY KEY, w int GENERATED ALWAYS AS (id + 1) VIRTUAL)")
                .await;
            node.scope.tables = vec![TableId::new("public", "v")];
            assert!(codes(&node.check().await).contains(&"E314"));
        }
    }
}

#[tokio::test]
async fn mysql_tables_that_cannot_be_carried() {
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let ddl = "CREATE TABLE isam (id int PRIMARY KEY) ENGINE = MyISAM;
                   CREATE TABLE words (word varchar(20) PRIMARY KEY) COLLATE utf8mb4_general_ci;
                   CREATE TABLE national (id int PRIMARY KEY, t varchar(9) CHARACTER SET sjis);
                   CREATE TABLE part (word varchar(90), PRIMARY KEY (word(10)))";
        let mut node = Node::new(kind, "odd", ddl, &["isam", "words", "part", "national"]).await;
        node.let_look().await;
        let found = node.check().await;
        for code in ["E303", "W308", "E301", "E333"] {
            assert!(codes(&found).contains(&code), "{code}");
        }
        // The fix of the warning works.
        let fix = found
            .iter()
            .find(|finding| finding.code == "W308")
            .unwrap()
            .fix
            .clone()
            .unwrap();
        node.exec(&fix).await;
        assert!(!codes(&node.check().await).contains(&"W308"));
        if kind == Kind::Mariadb {
            node.exec("CREATE TABLE squeezed (id int PRIMARY KEY, t text COMPRESSED)")
                .await;
            node.exec("CREATE TABLE past (id int PRIMARY KEY) WITH SYSTEM VERSIONING")
                .await;
            node.exec("CREATE TABLE hashed (id int PRIMARY KEY, t text, UNIQUE (t))")
                .await;
            let schema = node.scope.tables[0].schema.clone();
            node.scope.tables = ["squeezed", "past", "hashed"]
                .map(|name| TableId::new(schema.clone(), name))
                .into();
            let found = node.check().await;
            for code in ["E311", "E303", "E334"] {
                assert!(codes(&found).contains(&code), "{code}");
            }
        }
    }
}

/// The server shows such a label as '?' to whoever asks, and its values as they are.
#[tokio::test]
async fn labels_that_the_server_does_not_show() {
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let ddl = "CREATE TABLE e (id int PRIMARY KEY, c enum('a', '😀') CHARACTER SET utf8mb4);
                   CREATE TABLE s (id int PRIMARY KEY, c set('b', '😀') CHARACTER SET utf8mb4);
                   CREATE TABLE plain (id int PRIMARY KEY, c enum('a', '?') CHARACTER SET utf8mb3,
                                       d enum('é', '漢') CHARACTER SET utf8mb4)";
        let node = Node::new(kind, "labels", ddl, &["e", "s", "plain"]).await;
        node.let_look().await;
        let found = node.check().await;
        let hidden = found.iter().filter(|finding| finding.code == "E220");
        let tables: Vec<String> = hidden.filter_map(|finding| finding.table.clone()).collect();
        let schema = node.db.name();
        assert_eq!(tables, [format!("{schema}.e"), format!("{schema}.s")], "{kind:?}");
    }
}

#[tokio::test]
async fn mysql_servers_that_log_too_little() {
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let db = private(kind, &Options::default()).await;
        let mut node = Node::on(db, "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
        node.setup().await;
        let mut settings = vec![
            ("E202", "binlog_format", "STATEMENT"),
            ("E203", "binlog_row_metadata", "MINIMAL"),
            ("E204", "binlog_row_image", "MINIMAL"),
            ("W213", "max_allowed_packet", "1048576"),
            ("E209", "read_only", "1"),
        ];
        settings.extend(match kind {
            Kind::Mysql => vec![
                ("E205", "binlog_row_value_options", "PARTIAL_JSON"),
                ("W240", "gtid_mode", "ON_PERMISSIVE"),
            ],
            _ => Vec::new(),
        });
        // Compressed logs are read.
        let compression = match kind {
            Kind::Mysql => "binlog_transaction_compression",
            _ => "log_bin_compress",
        };
        node.db.as_dba(&format!("SET GLOBAL {compression} = ON")).await;
        for (_, name, value) in &settings {
            let value = if value.starts_with(|c: char| c.is_ascii_digit()) {
                (*value).to_owned()
            } else {
                format!("'{value}'")
            };
            node.db.as_dba(&format!("SET GLOBAL {name} = {value}")).await;
        }
        let mut wanted: Vec<&str> = settings.iter().map(|(code, _, _)| *code).collect();
        wanted.sort_unstable();
        assert_eq!(codes(&node.settings().await), wanted, "{kind}");
        // Without GTIDs the run account needs one right more, which no `SET` gives.
        wanted.extend((kind == Kind::Mysql).then_some("E243"));
        wanted.sort_unstable();
        let found = node.check().await;
        assert_eq!(codes(&found), wanted, "{kind}");
        // What is set at run time is mended at run time.
        for finding in found.iter().filter(|finding| finding.level != Level::Ok) {
            let fix = finding.fix.as_deref().unwrap();
            for statement in fix
                .split(';')
                .map(str::trim)
                .filter(|part| part.starts_with("SET "))
            {
                node.db.as_dba(statement).await;
            }
        }
        let left = codes(&node.check().await).join(" ");
        assert!(left.is_empty() || left == "E243 W240", "{kind}: {left}");
    }
}

#[tokio::test]
async fn mysql_servers_that_leave_databases_out_of_the_log() {
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let options = Options {
            extra: vec!["--binlog-ignore-db=tidelock".to_owned()],
            ..Options::default()
        };
        let mut node = Node::on(
            private(kind, &options).await,
            "CREATE TABLE t (id int PRIMARY KEY)",
            &["t"],
        )
        .await;
        node.setup().await;
        let found = node.check().await;
        let filters: Vec<&str> = found
            .iter()
            .filter(|finding| finding.code == "E208")
            .map(|finding| finding.what.as_str())
            .collect();
        assert!(
            filters.len() == 1 && filters[0].contains("database tidelock"),
            "{kind}: {filters:?}"
        );
    }
}

#[tokio::test]
async fn mysql_servers_without_a_log() {
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let options = Options {
            extra: vec!["--skip-log-bin".to_owned()],
            ..Options::default()
        };
        let node = Node::on(
            private(kind, &options).await,
            "CREATE TABLE t (id int PRIMARY KEY)",
            &["t"],
        )
        .await;
        node.let_look().await;
        assert!(codes(&node.check().await).contains(&"E201"), "{kind}");
    }
}

#[tokio::test]
async fn postgres_servers_that_log_too_little() {
    let options = Options {
        extra: [
            "wal_level=replica",
            "max_replication_slots=1",
            "max_wal_senders=1",
        ]
        .map(str::to_owned)
        .into(),
        ..Options::default()
    };
    let mut node = Node::on(
        private(Kind::Postgres18, &options).await,
        "CREATE TABLE t (id int PRIMARY KEY)",
        &["t"],
    )
    .await;
    node.exec("SELECT pg_create_physical_replication_slot('taken', true)")
        .await;
    let found = node.check().await;
    for code in ["E201", "E210"] {
        assert!(codes(&found).contains(&code), "{code} in {:?}", codes(&found));
    }
    assert!(found.iter().any(|finding| finding.code == "W212"));
    node.scope.mode = Mode::Transactional;
    node.scope.is_source = false;
    assert!(!codes(&node.check().await).contains(&"E201"));
}
