//! Every type at the ends of its range: the log, the first copy and our literals against the server's own text.

use super::harness::Kind;
use super::*;

/// How the server is asked for its own text of a column.
fn asked(name: &str, ty: &ColumnType) -> String {
    match ty {
        // As text a FLOAT is rounded; the product is exact.
        ColumnType::Float => format!("{name} * 1e0"),
        ColumnType::Bytes { .. } => format!("LOWER(HEX({name}))"),
        ColumnType::Opaque { name: ty } if !ty.starts_with("inet") => {
            format!("CONCAT('0x', LOWER(HEX({name})))")
        }
        ColumnType::Uuid => format!("REPLACE({name}, '-', '')"),
        _ => name.to_owned(),
    }
}

/// The server's text in the canonical spelling.
fn canonical(text: &str, ty: &ColumnType) -> String {
    match ty {
        ColumnType::Float | ColumnType::Double => format!("{:?}", text.parse::<f64>().unwrap()),
        ColumnType::Int { .. } | ColumnType::Year => text.parse::<i128>().unwrap().to_string(),
        ColumnType::Time { .. } | ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. } => {
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text.to_owned(),
            }
        }
        _ => text.to_owned(),
    }
}

/// Column definitions and literals for each: the ends of every range and what is easily read wrong.
fn types(kind: Kind) -> Vec<(&'static str, Vec<String>)> {
    let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let strings = all(&["''", "'abc'", "'it''s'", "' lead'", "'trail '", "'naïve €'"]);
    let unicode = all(&["''", "'naïve 🌊 é'", "'a\nb\tc\\d\"'", "REPEAT('é', 20)"]);
    let bytes = all(&["x''", "x'00'", "x'0100'", "x'ff00fe'", "x'2020'"]);
    let times = |fraction: usize| -> Vec<String> {
        [
            "838:59:59",
            "00:00:00",
            "00:46:13.6",
            "00:00:00.000001",
            "23:59:59.999999",
            "00:00:01",
            "100:00:00.5",
        ]
        .iter()
        .flat_map(|time| [(*time).to_owned(), format!("-{time}")])
        .map(|time| match time.split_once('.') {
            Some((whole, digits)) if fraction > 0 => {
                format!("'{whole}.{}'", &digits[..digits.len().min(fraction)])
            }
            Some((whole, _)) => format!("'{whole}'"),
            None => format!("'{time}'"),
        })
        .collect()
    };
    let moments = all(&[
        "'0000-00-00 00:00:00'",
        "'1000-01-01 00:00:00'",
        "'2024-02-29 23:59:59'",
        "'9999-12-31 23:59:59'",
        "'2024-02-00 01:02:03'",
    ]);
    let moments6 = [
        &moments[..],
        &all(&[
            "'2024-01-01 00:00:00.000001'",
            "'9999-12-31 23:59:59.999999'",
            "'2024-01-01 00:00:00.5'",
        ]),
    ]
    .concat();
    let stamps = all(&[
        "'1970-01-01 00:00:01'",
        "'2038-01-19 03:14:07'",
        "'2024-02-29 12:34:56'",
        "0",
    ]);
    let stamps6 = [
        &stamps[..],
        &all(&["'2000-02-29 23:59:59.999999'", "'1970-01-01 00:00:01.000001'"]),
    ]
    .concat();
    let doubles = all(&[
        "0",
        "-0e0",
        "1.5",
        "-1e308",
        "5e-324",
        "0.1",
        "123456789012345678",
        "1.7976931348623157e308",
    ]);
    let mut columns = vec![
        ("tinyint", all(&["-128", "127", "-1"])),
        ("tinyint unsigned", all(&["0", "255"])),
        ("smallint", all(&["-32768", "32767"])),
        ("smallint unsigned", all(&["65535"])),
        ("mediumint", all(&["-8388608", "8388607", "-1"])),
        ("mediumint unsigned", all(&["16777215"])),
        ("year", all(&["0", "1901", "2155", "2024"])),
        ("int", all(&["-2147483648", "2147483647"])),
        ("int unsigned", all(&["4294967295"])),
        ("bigint", all(&["-9223372036854775808", "9223372036854775807"])),
        ("bigint unsigned", all(&["18446744073709551615"])),
        (
            "decimal(65,30)",
            all(&[
                "0",
                "-0.000000000000000000000000000001",
                &format!("{}.{}", "9".repeat(35), "9".repeat(30)),
            ]),
        ),
        (
            "decimal(18,9)",
            all(&["123456789.987654321", "-123456789.987654321", "-0.5"]),
        ),
        ("decimal(5,0)", all(&["-99999", "7", "0"])),
        ("decimal(4,4) unsigned", all(&["0.9999", "0"])),
        ("decimal(20,3)", all(&["-12345678901234567.891", "1"])),
        (
            "float",
            all(&[
                "0",
                "-0e0",
                "1.5",
                "123456789",
                "-3.4028234663852886e38",
                "1.401298464324817e-45",
                "0.1",
            ]),
        ),
        ("double", doubles),
        ("bit(1)", all(&["0", "1"])),
        ("bit(10)", all(&["0", "1", "1023", "513"])),
        ("bit(64)", all(&["0", "18446744073709551615"])),
        (
            "date",
            all(&[
                "'0000-00-00'",
                "'1000-01-01'",
                "'9999-12-31'",
                "'2024-02-29'",
                "'2024-00-10'",
            ]),
        ),
        ("time", times(0)),
        ("time(1)", times(1)),
        ("time(2)", times(2)),
        ("time(3)", times(3)),
        ("time(4)", times(4)),
        ("time(5)", times(5)),
        ("time(6)", times(6)),
        ("datetime", moments),
        (
            "datetime(3)",
            moments6
                .iter()
                .filter(|text| !text.contains(".999999") && !text.contains(".000001"))
                .cloned()
                .collect(),
        ),
        ("datetime(6)", moments6),
        ("timestamp null", stamps),
        ("timestamp(6) null", stamps6),
        (
            "geometry",
            all(&[
                "ST_GeomFromText('POINT(1 2)')",
                "ST_GeomFromText('LINESTRING(0 0,1 1)')",
            ]),
        ),
        ("char(20)", strings.clone()),
        ("char(100) character set utf8mb4", unicode.clone()),
        ("char(20) character set latin1", strings.clone()),
        ("varchar(50) character set latin1", strings.clone()),
        ("varchar(500) character set utf8mb4", unicode.clone()),
        ("varchar(50) character set ucs2", strings.clone()),
        ("varchar(50) character set utf16", unicode.clone()),
        ("varchar(50) character set utf32", unicode.clone()),
        ("varchar(50) character set utf8mb3", strings.clone()),
        ("varchar(50) character set ascii", all(&["''", "'abc'"])),
        ("binary(5)", bytes.clone()),
        ("varbinary(300)", bytes.clone()),
        ("tinytext", unicode.clone()),
        ("text character set latin1", strings.clone()),
        ("mediumtext", unicode.clone()),
        ("longtext", all(&["REPEAT('x', 100000)", "''"])),
        ("tinyblob", bytes.clone()),
        ("blob", bytes.clone()),
        ("longblob", bytes),
        ("enum('a','b''c','é')", all(&["'a'", "'b''c'", "'é'"])),
        ("enum('x','ü') character set latin1", all(&["'x'", "'ü'"])),
        ("set('x','y','z','ä')", all(&["''", "'x'", "'x,z'", "'x,y,z,ä'"])),
        ("json", json(kind)),
    ];
    if kind == Kind::Mysql {
        columns.insert(
            40,
            (
                "vector(3)",
                all(&["STRING_TO_VECTOR('[1,2.5,-3]')", "STRING_TO_VECTOR('[0,0]')"]),
            ),
        );
    }
    if kind == Kind::Mariadb {
        columns.extend([
            (
                "uuid",
                all(&[
                    "'123e4567-e89b-12d3-a456-426655440000'",
                    "'00000000-0000-0000-0000-000000000000'",
                ]),
            ),
            ("inet4", all(&["'192.168.0.1'", "'0.0.0.0'", "'1.0.0.0'"])),
            (
                "inet6",
                all(&[
                    "'::'",
                    "'::1'",
                    "'2001:db8::ff00:42:8329'",
                    "'::ffff:192.168.0.1'",
                    "'::192.168.0.1'",
                    "'1::'",
                ]),
            ),
        ]);
    }
    columns
}

fn json(kind: Kind) -> Vec<String> {
    let mut documents: Vec<String> = [
        r#"{}"#,
        r#"[]"#,
        r#""text""#,
        r#"null"#,
        r#"true"#,
        r#"{"b": [1, -1, 65535, 65536, -32769, 4294967296, 18446744073709551615], "a": {"x": null, "yy": false}}"#,
        r#"{"q\"uote": "tab\t newline\n é 🌊 \\ / \u0001"}"#,
        r#"[0.1, 1.0, 1e20, 1e15, 123456789012345.0, 1.5e-300, -0.0, 1e-14, 1e-15, 100000.0]"#,
    ]
    .iter()
    .map(|text| format!("'{}'", text.replace('\'', "''")))
    .collect();
    let long = format!(
        r#"'{{"k": "{}", "l": [{}]}}'"#,
        "x".repeat(70_000),
        ["1"; 500].join(",")
    );
    documents.push(long);
    if kind == Kind::Mysql {
        documents.extend(
            [
                "JSON_OBJECT('d', CAST('123.4500' AS DECIMAL(10,4)), 'n', CAST('-0.5' AS DECIMAL(5,2)))",
                "JSON_ARRAY(CAST('2024-02-29' AS DATE), CAST('-12:34:56.5' AS TIME(6)), CAST('2024-02-29 12:34:56' AS DATETIME))",
                "JSON_ARRAY(CAST('ab' AS BINARY), REPEAT(x'00ff', 100), b'101')",
                "JSON_ARRAY(1.5e0, 3e0, CAST(1 AS UNSIGNED), TIMESTAMP'2024-01-01 00:00:00.123')",
            ]
            .map(str::to_owned),
        );
    }
    documents
}

async fn every_type_reads_the_same_from_log_copy_and_server(kind: Kind) {
    let db = database(kind, "types").await;
    let types = types(kind);
    let definitions: Vec<String> = types
        .iter()
        .enumerate()
        .map(|(n, (ty, _))| format!("c{n} {ty}"))
        .collect();
    let mut session = db.session().await;
    session
        .exec("SET sql_mode = 'NO_BACKSLASH_ESCAPES,ALLOW_INVALID_DATES', NAMES utf8mb4")
        .await;
    session
        .exec(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, {}) ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4",
            definitions.join(", ")
        ))
        .await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    let rounds = types.iter().map(|(_, literals)| literals.len()).max().unwrap();
    for round in 0..=rounds {
        let literal = |literals: &Vec<String>| match round {
            0 => "NULL".to_owned(),
            round => literals[round % literals.len()].clone(),
        };
        let values: Vec<String> = types.iter().map(|(_, literals)| literal(literals)).collect();
        session
            .exec(&format!("INSERT INTO t VALUES ({round}, {})", values.join(", ")))
            .await;
    }
    let logged: Vec<Row> = changes(&parts(&mut source, &options).await)
        .into_iter()
        .map(|change| match change.op {
            Op::Insert { new } => new,
            other => panic!("{other:?}"),
        })
        .collect();
    let mut snapshot = Snapshot::open(&options).await.unwrap();
    let mut copied = copy(&mut snapshot, &options, 0).await;
    copied.sort_by_key(|row| match row.get(0) {
        Some(Value::Int(id)) => *id,
        other => panic!("{other:?}"),
    });
    let settle = snapshot.close().await.unwrap();
    assert_eq!(settle.is_some(), kind == Kind::Mysql);

    let columns = &options.tables[0].table.columns;
    let list: Vec<String> = columns
        .iter()
        .map(|column| asked(&column.name, &column.ty))
        .collect();
    let told = session
        .rows(&format!("SELECT {} FROM t ORDER BY id", list.join(", ")))
        .await;
    assert_eq!(
        (logged.len(), copied.len(), told.len()),
        (rounds + 1, rounds + 1, rounds + 1)
    );
    let mut wrong = Vec::new();
    for ((log, copy), told) in logged.iter().zip(&copied).zip(&told) {
        for (index, column) in columns.iter().enumerate() {
            let told = told[index].as_ref().map(|text| canonical(text, &column.ty));
            assert_eq!(log.get(index), copy.get(index), "{}", column.sql_type);
            let (log, copy) = (text(log.get(index).unwrap()), text(copy.get(index).unwrap()));
            if told != log || told != copy {
                let cut = |text: &Option<String>| {
                    text.as_ref()
                        .map(|text| text.chars().take(200).collect::<String>())
                };
                let (told, log, copy) = (cut(&told), cut(&log), cut(&copy));
                wrong.push(format!(
                    "{}: server {told:?}, log {log:?}, copy {copy:?}",
                    column.sql_type
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    written_back(&db, &options, &logged, &told, &list).await;
}

/// Literals of the values that were read make the same rows again.
async fn written_back(
    db: &Db,
    options: &Options,
    logged: &[Row],
    told: &[Vec<Option<String>>],
    list: &[String],
) {
    use mysql_async::prelude::Queryable;
    let columns = &options.tables[0].table.columns;
    db.exec("CREATE TABLE again LIKE t").await;
    let mut conn = connect(&harness::access("my", &db.owner_url())).await.unwrap();
    for row in logged {
        let mut sql = b"INSERT INTO again VALUES (".to_vec();
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                sql.push(b',');
            }
            tidelock::mysql::codec::literal(row.get(index).unwrap(), &column.ty, &mut sql);
        }
        sql.push(b')');
        conn.query_drop(sql).await.unwrap();
    }
    let again = db
        .rows(&format!("SELECT {} FROM again ORDER BY id", list.join(", ")))
        .await;
    assert_eq!(again.len(), told.len());
    for (again, told) in again.iter().zip(told) {
        for (index, column) in columns.iter().enumerate() {
            // A document's text does not tell decimals and dates inside it from doubles and strings.
            if column.ty != (ColumnType::Json { normalised: true }) {
                assert_eq!(again[index], told[index], "{}", column.sql_type);
            }
        }
    }
}

#[tokio::test]
async fn mysql_types() {
    every_type_reads_the_same_from_log_copy_and_server(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_types() {
    every_type_reads_the_same_from_log_copy_and_server(Kind::Mariadb).await;
}

/// Dates and bytes inside of a document are more than the strings that its text shows, in the log and in the copy.
#[tokio::test]
async fn mysql_values_of_sql_in_json() {
    let db = database(Kind::Mysql, "json").await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY, j json)").await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    let values = [
        "JSON_OBJECT('d', CAST('2024-01-02' AS DATE))",
        "JSON_ARRAY(CAST('10:11:12' AS TIME))",
        "JSON_ARRAY(JSON_ARRAY(CAST('2024-01-02 03:04:05' AS DATETIME)))",
        "JSON_ARRAY(CAST('ab' AS BINARY))",
        "JSON_ARRAY(b'101')",
        "'[\"2024-01-02\", 1.5, 1e308, -0.0, null]'",
        "JSON_ARRAY(1.10, 0.1)",
        "JSON_ARRAY(CAST(2024 AS YEAR), 1 = 1)",
        "NULL",
    ];
    for (id, value) in values.iter().enumerate() {
        db.exec(&format!("INSERT INTO t VALUES ({id}, {value})")).await;
    }
    let logged = changes(&parts(&mut source, &options).await)
        .into_iter()
        .map(|change| match change.op {
            Op::Insert { new } => new,
            other => panic!("{other:?}"),
        });
    let logged: Vec<Row> = logged.collect();
    let mut snapshot = Snapshot::open(&options).await.unwrap();
    let mut copied = copy(&mut snapshot, &options, 0).await;
    snapshot.close().await.unwrap();
    copied.sort_by_key(|row| format!("{:?}", row.get(0)));
    assert_eq!(logged, copied);
    let is_more = |row: &Row| matches!(row.get(1), Some(Value::Opaque(_)));
    let more: Vec<bool> = logged.iter().map(is_more).collect();
    assert_eq!(more, [true, true, true, true, true, false, false, false, false]);
}
