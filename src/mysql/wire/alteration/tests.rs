//! Spellings of ALTER TABLE, and what is said of each.

use super::*;

const STRICT: u64 = 1 << 21;
const ANSI: u64 = 1 << 2;
const PLAIN_BACKSLASH: u64 = 1 << 20;
const ZEROS: u64 = 1 << 19;

/// `t (id int unsigned NOT NULL AUTO_INCREMENT, v varchar(20), n int, w text ascii, l utf8mb3, d decimal(8,2), e, s, ts,
/// bin)` of utf8mb4; column `old` is gone.
fn columns() -> HashMap<String, Stood> {
    let int = |unsigned| ColumnType::Int { bits: 32, unsigned };
    let text = |chars, bytes, fixed| ColumnType::Text {
        chars,
        bytes,
        fixed,
        utf8: true,
    };
    let labels = || ["ok", "sad"].map(str::to_owned).to_vec();
    let list = [
        ("id", int(true), None, false),
        ("v", text(Some(20), None, false), Some("utf8mb4"), true),
        ("c", text(Some(5), None, true), Some("utf8mb4"), true),
        ("n", int(false), None, true),
        ("w", text(None, Some(65_535), false), Some("ascii"), true),
        ("l", text(Some(9), None, false), Some("utf8mb3"), true),
        (
            "d",
            ColumnType::Decimal {
                precision: Some(8),
                scale: 2,
                unsigned: false,
            },
            None,
            true,
        ),
        ("e", ColumnType::Enum { labels: labels() }, Some("utf8mb4"), true),
        ("s", ColumnType::Set { labels: labels() }, Some("utf8mb4"), true),
        (
            "ts",
            ColumnType::TimestampTz {
                fraction: 0,
                epoch: true,
            },
            None,
            true,
        ),
        (
            "bin",
            ColumnType::Bytes {
                limit: Some(8),
                fixed: true,
            },
            None,
            true,
        ),
    ];
    let stood = |(name, ty, charset, nullable): (&str, ColumnType, Option<&str>, bool)| {
        let charset = charset.map(str::to_owned);
        (
            name.to_owned(),
            Stood {
                ty,
                charset,
                nullable,
            },
        )
    };
    list.into_iter().map(stood).collect()
}

fn judged_in(mode: Option<u64>, text: &str) -> Verdict {
    let (columns, left) = (columns(), HashSet::from(["old".to_owned()]));
    judge(
        text,
        &Before {
            columns: &columns,
            is_whole: true,
            left: &left,
            charset: Some("utf8mb4".to_owned()),
            counted: Some("id"),
            logs_cascades: false,
            mode: mode.map(SqlMode),
        },
    )
}

#[test]
fn what_keeps_every_value_goes_on() {
    for text in [
        "ALTER TABLE t",
        "alter table `d`.`t` add column x int",
        "ALTER TABLE t ADD x int FIRST, ADD COLUMN `y` varchar(9) DEFAULT 'a,b;)' AFTER v;",
        "ALTER TABLE t ADD COLUMN (x int, y decimal(5,2), KEY k (x), CHECK (x > 0))",
        "ALTER TABLE t ADD COLUMN IF NOT EXISTS x int",
        "ALTER TABLE IF EXISTS t WAIT 5 ADD x int",
        "ALTER ONLINE TABLE t NOWAIT ADD x int GENERATED ALWAYS AS (n + 1) STORED",
        "/* a */ ALTER /*!40000 TABLE */ t -- DROP v, ADD v int\n ADD /* x */ x int # , MODIFY n tinyint",
        "/*!40000 ALTER TABLE `t` DISABLE KEYS */",
        "ALTER TABLE t ENABLE KEYS",
        "SET STATEMENT lock_wait_timeout=5 FOR ALTER TABLE t ADD x int",
        "ALTER TABLE t DROP COLUMN v",
        "ALTER TABLE t DROP v, DROP COLUMN IF EXISTS n RESTRICT, ALGORITHM=INPLACE, LOCK = NONE",
        "ALTER TABLE t ADD INDEX i (v), ADD UNIQUE KEY u (v, n), ADD KEY (n), DROP INDEX o, DROP KEY p",
        "ALTER TABLE t ADD FULLTEXT INDEX f (w), ADD SPATIAL KEY g (x), RENAME INDEX a TO b, RENAME KEY `c` TO d",
        "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (id, n)",
        "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (n) REFERENCES p (id) ON DELETE RESTRICT ON UPDATE NO ACTION",
        "ALTER TABLE t ADD FOREIGN KEY (n) REFERENCES p (id), DROP FOREIGN KEY g, DROP CONSTRAINT h",
        "ALTER TABLE t ADD CONSTRAINT CHECK (n > 0), ADD CONSTRAINT c CHECK (v <> 'ON DELETE CASCADE'), DROP CHECK k",
        "ALTER TABLE t ADD PARTITION (PARTITION p VALUES LESS THAN (9))",
        "ALTER TABLE t REORGANIZE PARTITION a, b INTO (PARTITION c VALUES LESS THAN (9))",
        "ALTER TABLE t REBUILD PARTITION a, b",
        "ALTER TABLE t PARTITION BY HASH (id) PARTITIONS 4",
        "ALTER TABLE t REMOVE PARTITIONING",
        "ALTER TABLE t COMMENT 'MODIFY n tinyint', ENGINE=InnoDB ROW_FORMAT = DYNAMIC AUTO_INCREMENT 7",
        "ALTER TABLE t ENGINE `InnoDB`, FORCE",
        "ALTER TABLE t DEFAULT CHARACTER SET = latin1 COLLATE latin1_bin",
        "ALTER TABLE t ADD x int, ORDER BY v, n DESC",
        "ALTER TABLE t ALTER COLUMN v SET DEFAULT 'x', ALTER n DROP DEFAULT, ALTER v SET INVISIBLE",
        "ALTER TABLE t ALTER INDEX i INVISIBLE, ALTER CHECK k NOT ENFORCED",
        "ALTER TABLE t RENAME COLUMN v TO x",
        "ALTER TABLE t RENAME COLUMN V TO v",
        "ALTER TABLE t MODIFY n bigint",
        "ALTER TABLE t MODIFY COLUMN IF EXISTS `N` INT(11) DEFAULT -5 COMMENT 'it''s' AFTER v",
        "ALTER TABLE t CHANGE n x bigint NULL DEFAULT NULL",
        "ALTER TABLE t MODIFY id bigint unsigned NOT NULL AUTO_INCREMENT FIRST",
        "ALTER TABLE t MODIFY id bigint NOT NULL",
        "ALTER TABLE t MODIFY v varchar(40)",
        "ALTER TABLE t MODIFY v varchar(20) COLLATE utf8mb4_bin DEFAULT _utf8mb4'x'",
        "ALTER TABLE t MODIFY v text, MODIFY c char(9), MODIFY w mediumtext, MODIFY l varchar(9) CHARSET utf8mb3",
        "ALTER TABLE t MODIFY w text CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "ALTER TABLE t MODIFY d decimal(12,4), MODIFY ts timestamp(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE NOW(3)",
        "ALTER TABLE t MODIFY e enum('ok','glad','sad'), MODIFY s set('ok','glad','sad')",
        "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "ALTER TABLE t MODIFY n smallint",
    ] {
        let verdict = judged_in(Some(STRICT), text);
        assert!(matches!(verdict, Verdict::Keeps(_)), "{text}: {verdict:?}");
    }
}

/// The mode of the session, and what it ran.
const STOPS: &[(Option<u64>, &str)] = &[
    // A name that had other values.
    (
        Some(STRICT),
        "ALTER TABLE t DROP COLUMN v, ADD COLUMN v longtext AFTER id",
    ),
    (
        Some(STRICT),
        "ALTER TABLE t ADD COLUMN `V` longtext, DROP COLUMN v",
    ),
    (Some(STRICT), "ALTER TABLE t ADD COLUMN (x int, `OLD` int)"),
    (Some(STRICT), "ALTER TABLE t ADD old int"),
    (Some(STRICT), "ALTER TABLE t RENAME COLUMN v TO old"),
    (
        Some(STRICT),
        "ALTER TABLE t RENAME COLUMN v TO w, RENAME COLUMN w TO v",
    ),
    (
        Some(STRICT),
        "ALTER TABLE t CHANGE v w varchar(20), CHANGE w v text CHARACTER SET utf8mb4",
    ),
    (Some(STRICT), "ALTER TABLE t DROP v, CHANGE n v bigint"),
    // Types.
    (Some(0), "ALTER TABLE t MODIFY n tinyint"),
    (None, "ALTER TABLE t MODIFY n tinyint"),
    (Some(0), "ALTER TABLE t MODIFY n int unsigned"),
    (Some(0), "ALTER TABLE t MODIFY id int NOT NULL"),
    (Some(STRICT), "ALTER TABLE t MODIFY n varchar(20)"),
    (Some(STRICT), "ALTER TABLE t MODIFY n double"),
    (Some(STRICT), "ALTER TABLE t MODIFY n int zerofill"),
    (Some(STRICT), "ALTER TABLE t MODIFY v varchar(10)"),
    (
        Some(STRICT),
        "ALTER TABLE t MODIFY w tinytext CHARACTER SET ascii",
    ),
    (Some(STRICT), "ALTER TABLE t MODIFY v char(40)"),
    (
        Some(STRICT),
        "ALTER TABLE t MODIFY w varchar(2000) CHARACTER SET ascii",
    ),
    (Some(STRICT), "ALTER TABLE t MODIFY v varbinary(200)"),
    (Some(STRICT), "ALTER TABLE t MODIFY v varchar(40) BINARY"),
    (Some(STRICT), "ALTER TABLE t MODIFY v varchar(40) SOMETHING"),
    (Some(STRICT), "ALTER TABLE t MODIFY d decimal(8,1)"),
    (Some(STRICT), "ALTER TABLE t MODIFY d decimal(8,4)"),
    (Some(STRICT), "ALTER TABLE t MODIFY bin binary(9)"),
    (Some(STRICT), "ALTER TABLE t MODIFY ts datetime"),
    (Some(STRICT), "ALTER TABLE t MODIFY e enum('ok','glad')"),
    (Some(STRICT), "ALTER TABLE t MODIFY e enum('ok','sad','OK')"),
    (Some(0), "ALTER TABLE t MODIFY e enum('ok','glad','sad')"),
    (Some(STRICT), "ALTER TABLE t MODIFY s set('sad','ok')"),
    // Character sets.
    (
        Some(STRICT),
        "ALTER TABLE t MODIFY v varchar(20) CHARACTER SET ascii",
    ),
    (Some(STRICT), "ALTER TABLE t MODIFY v varchar(20) CHARSET=latin1"),
    (
        Some(STRICT),
        "ALTER TABLE t MODIFY v varchar(20) COLLATE latin1_bin",
    ),
    (
        Some(STRICT),
        "ALTER TABLE t MODIFY v varchar(20) CHARACTER SET utf8",
    ),
    (Some(STRICT), "ALTER TABLE t CONVERT TO CHARACTER SET latin1"),
    (Some(STRICT), "ALTER TABLE t CONVERT TO CHARSET utf8mb3"),
    // NULL, zero, generated.
    (Some(STRICT), "ALTER TABLE t MODIFY v varchar(100) NOT NULL"),
    (
        Some(STRICT),
        "ALTER TABLE t MODIFY v varchar(100) DEFAULT '' NOT NULL",
    ),
    (Some(STRICT), "ALTER TABLE t MODIFY ts timestamp"),
    (Some(STRICT), "ALTER TABLE t MODIFY n int AUTO_INCREMENT"),
    (Some(ZEROS), "ALTER TABLE t MODIFY n int NOT NULL AUTO_INCREMENT"),
    (Some(STRICT), "ALTER TABLE t MODIFY n int PRIMARY KEY"),
    (Some(0), "ALTER TABLE t ADD PRIMARY KEY (n)"),
    (
        Some(STRICT),
        "ALTER TABLE t MODIFY n int GENERATED ALWAYS AS (id * 2) STORED",
    ),
    (
        Some(STRICT),
        "ALTER TABLE t CHANGE n n int AS (id * 2) PERSISTENT",
    ),
    // A column that is not known.
    (Some(STRICT), "ALTER TABLE t MODIFY unheard bigint"),
    // Others.
    (Some(STRICT), "ALTER IGNORE TABLE t ADD UNIQUE (n)"),
    (Some(STRICT), "ALTER TABLE t ENGINE=MyISAM"),
    (Some(STRICT), "ALTER TABLE t ENGINE=InnoDB, ENGINE MyISAM"),
    (Some(STRICT), "ALTER TABLE t ADD SYSTEM VERSIONING"),
    (Some(STRICT), "ALTER TABLE t DROP PERIOD FOR SYSTEM_TIME"),
    (Some(STRICT), "ALTER TABLE t DROP PARTITION p"),
    (Some(STRICT), "ALTER TABLE t EXCHANGE PARTITION p WITH TABLE x"),
    (
        Some(STRICT),
        "ALTER TABLE t ADD x int, ADD PARTITION (PARTITION p VALUES LESS THAN (9))",
    ),
    (Some(STRICT), "ALTER TABLE t UNION=(a, b)"),
    (Some(STRICT), "ALTER TABLE t SOMETHING NEW"),
    (Some(STRICT), "ALTER TABLE t RENAME TO x"),
    (Some(STRICT), "ALTER TABLE t ORDER BY v, DROP COLUMN n"),
    (Some(STRICT), "ALTER TABLE t ORDER BY v, MODIFY n"),
    (Some(STRICT), "ALTER TABLE t ADD x int; DROP TABLE t"),
    (Some(STRICT), "ALTER TABLE t ADD x int,"),
    (Some(STRICT), "ALTER TABLE t ADD x decimal(5,2"),
    (Some(STRICT), "ALTER TABLE t ADD x int)"),
    (Some(STRICT), "ALTER TABLE t ADD `x"),
    (
        Some(STRICT),
        "SET STATEMENT sql_mode='' FOR ALTER TABLE t MODIFY n bigint",
    ),
    // What one server executes, and another not.
    (
        Some(STRICT),
        "ALTER TABLE t ADD x int /*!80000 , MODIFY n tinyint */",
    ),
    (
        Some(STRICT),
        "ALTER TABLE t ADD x int /*M!100100 , MODIFY n tinyint */",
    ),
    (Some(STRICT), "ALTER TABLE t ADD x int /*!99999 , ADD z int */"),
    (Some(0), "ALTER TABLE t ADD x int /*! , MODIFY n tinyint */"),
    (Some(STRICT), "ALTER TABLE t ADD x int /*! , ADD y int"),
    (Some(STRICT), "ALTER TABLE t ADD x int */"),
    // Quotes: text by default, a name in another mode.
    (Some(0), "ALTER TABLE t COMMENT \"a\", MODIFY \"n\" bigint"),
    (None, "ALTER TABLE t COMMENT \"a\""),
    (None, "ALTER TABLE t COMMENT 'a\\'"),
    // Where the backslash is one, the text ends before DROP.
    (
        Some(PLAIN_BACKSLASH),
        "ALTER TABLE t COMMENT 'a\\', MODIFY v varchar(1), COMMENT 'b'",
    ),
];

#[test]
fn what_may_change_a_value_or_is_not_known_stops() {
    for (mode, text) in STOPS {
        let verdict = judged_in(*mode, text);
        assert!(matches!(verdict, Verdict::MayChange(_)), "{text}: {verdict:?}");
    }
}

#[test]
fn the_mode_says_what_quotes_mean() {
    let ansi = judged_in(Some(ANSI), "ALTER TABLE \"t\" MODIFY \"n\" bigint");
    assert!(matches!(ansi, Verdict::Keeps(_)), "{ansi:?}");
    let escaped = "ALTER TABLE t COMMENT 'a\\', MODIFY v varchar(1), COMMENT b'";
    let text = judged_in(Some(0), escaped);
    assert!(matches!(text, Verdict::Keeps(_)), "{text:?}");
}

#[test]
fn foreign_keys_that_change_rows_by_themselves() {
    for text in [
        "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (n) REFERENCES p (id) ON DELETE CASCADE",
        "ALTER TABLE t DROP FOREIGN KEY f, ADD FOREIGN KEY (n) REFERENCES p (id) ON DELETE RESTRICT ON UPDATE cascade",
        "ALTER TABLE t ADD CONSTRAINT FOREIGN KEY f (n) REFERENCES p (id) ON DELETE SET NULL",
        "ALTER TABLE t ADD x int REFERENCES p (id) /* y */ on /* z */ delete set default",
        "ALTER TABLE t ADD (x int, FOREIGN KEY (x) REFERENCES p (id) ON UPDATE SET NULL)",
    ] {
        assert_eq!(judged_in(Some(STRICT), text), Verdict::Cascades, "{text}");
    }
}

#[test]
fn what_becomes_of_columns_is_told() {
    let Verdict::Keeps(effects) = judged_in(
        Some(STRICT),
        "ALTER TABLE t DROP v, RENAME COLUMN n TO m, ADD x int, MODIFY w longtext CHARACTER SET utf8mb4, CHARSET utf8mb4",
    ) else {
        panic!("it stops");
    };
    assert_eq!(effects.leaving, ["v", "n"]);
    let others: Vec<(&str, bool)> = effects
        .others
        .iter()
        .map(|(name, now)| (name.as_str(), now.is_some()))
        .collect();
    assert_eq!(others, [("m", true), ("x", false), ("w", true)]);
    let wide = effects.others.iter().find(|(name, _)| name == "w").unwrap();
    assert_eq!(wide.1.as_ref().unwrap().charset.as_deref(), Some("utf8mb4"));
    assert!(effects.recharset);
}

#[test]
fn nothing_is_certain_of_columns_that_are_not_known() {
    let (columns, left) = (HashMap::new(), HashSet::new());
    let before = Before {
        columns: &columns,
        is_whole: false,
        left: &left,
        charset: None,
        counted: None,
        logs_cascades: true,
        mode: Some(SqlMode(STRICT)),
    };
    for text in [
        "ALTER TABLE t MODIFY n bigint",
        "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4",
    ] {
        assert!(matches!(judge(text, &before), Verdict::MayChange(_)), "{text}");
    }
    for text in [
        "ALTER TABLE t ADD n bigint, DROP COLUMN v",
        "ALTER TABLE t ADD FOREIGN KEY (n) REFERENCES p (id) ON DELETE CASCADE",
    ] {
        assert!(matches!(judge(text, &before), Verdict::Keeps(_)), "{text}");
    }
}

#[test]
fn odd_texts_do_not_panic() {
    let odd = "ALTER TABLE t ADD COLUMN (`é` int, x enum('a\\'','b')) /*! , MODIFY \"n\" decimal(5,2) */ DEFAULT CHARSET é";
    for end in (0..=odd.len()).filter(|end| odd.is_char_boundary(*end)) {
        for begin in (0..end).filter(|begin| odd.is_char_boundary(*begin)) {
            let _ = judged_in(Some(0), &odd[begin..end]);
        }
    }
}
