//! Cells of hand-made column descriptions; every real type is read in `tests/mysql_source.rs`.

use super::*;

fn column(ty: u8, meta: Meta) -> LogColumn<'static> {
    LogColumn {
        ty,
        meta,
        name: Some(b"c"),
        nullable: true,
        unsigned: false,
        collation: None,
        labels: Vec::new(),
    }
}

fn catalog(ty: ColumnType) -> Table {
    let column = Column {
        name: "c".to_owned(),
        ty,
        sql_type: "t".to_owned(),
        collation: String::new(),
        nullable: false,
        generated: false,
        has_default: false,
    };
    Table {
        id: TableId::new("d", "t"),
        columns: vec![column],
        key: vec![0],
        uniques: Vec::new(),
        external: None,
    }
}

fn reader(column: LogColumn<'static>, ty: ColumnType) -> Result<Reader> {
    let description = Description {
        columns: vec![column],
        primary_key: None,
    };
    Reader::new(&TableId::new("d", "t"), &description, &catalog(ty))
}

fn read(column: LogColumn<'static>, bytes: &[u8]) -> Value {
    let reader = reader(column, ColumnType::Bool).unwrap();
    let mut image = vec![0_u8];
    image.extend(bytes);
    let mut cursor = Cursor::new(&image);
    let row = decode_row(&reader, &mut cursor).unwrap();
    assert!(cursor.is_empty());
    row.get(0).unwrap().clone()
}

#[test]
fn integers_of_every_width() {
    assert_eq!(read(column(ty::INT24, Meta::None), &[0xff; 3]), Value::Int(-1));
    assert_eq!(read(column(ty::TINY, Meta::None), &[0x80]), Value::Int(-128));
    assert_eq!(read(column(ty::LONGLONG, Meta::None), &[0xff; 8]), Value::Int(-1));
    let unsigned = LogColumn {
        unsigned: true,
        ..column(ty::LONGLONG, Meta::None)
    };
    assert_eq!(read(unsigned, &[0xff; 8]), Value::UInt(u64::MAX));
    assert_eq!(read(column(ty::YEAR, Meta::None), &[0]), Value::Int(0));
    assert_eq!(read(column(ty::YEAR, Meta::None), &[124]), Value::Int(2024));
}

#[test]
fn texts_bytes_and_labels() {
    let latin1 = LogColumn {
        collation: Some(8),
        ..column(ty::STRING, Meta::Length(10))
    };
    assert_eq!(read(latin1, &[2, 0xe9, b' ']), Value::Text("é".into()));
    let binary = LogColumn {
        collation: Some(63),
        ..column(ty::STRING, Meta::Length(3))
    };
    assert_eq!(read(binary, &[1, 7]), Value::Bytes(vec![7, 0, 0].into()));
    let set = LogColumn {
        collation: Some(45),
        labels: vec![b"a", b"b", b"c"],
        ..column(ty::SET, Meta::Small(1))
    };
    assert_eq!(read(set.clone(), &[0b101]), Value::Text("a,c".into()));
    let member = LogColumn { ty: ty::ENUM, ..set };
    assert_eq!(read(member.clone(), &[2]), Value::Text("b".into()));
    assert_eq!(read(member, &[0]), Value::Text("".into()));
    assert_eq!(
        read(column(ty::BIT, Meta::Length(10)), &[2, 1]),
        Value::Bit("1000000001".into())
    );
}

#[test]
fn the_catalog_tells_what_plain_bytes_mean() {
    let bytes = LogColumn {
        collation: Some(63),
        ..column(ty::STRING, Meta::Length(16))
    };
    let made = reader(bytes.clone(), ColumnType::Uuid).unwrap();
    let row = decode_row(&made, &mut Cursor::new(&[0, 1, 9])).unwrap();
    let mut uuid = [0; 16];
    uuid[0] = 9;
    assert_eq!(row.get(0), Some(&Value::Uuid(uuid)));
    let inet = ColumnType::Opaque {
        name: "inet6".to_owned(),
    };
    let made = reader(bytes, inet).unwrap();
    let mut image = vec![0, 16];
    image.extend([0; 15]);
    image.push(1);
    assert_eq!(
        decode_row(&made, &mut Cursor::new(&image)).unwrap().get(0),
        Some(&Value::Opaque("::1".into()))
    );
}

#[test]
fn what_is_not_read_is_refused_with_the_alter_that_mends_it() {
    let koi8 = LogColumn {
        collation: Some(7),
        ..column(ty::VARCHAR, Meta::Length(10))
    };
    let error = reader(koi8, ColumnType::Bool).unwrap_err();
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("ALTER TABLE `d`.`t` CONVERT TO CHARACTER SET utf8mb4")
    );
    let unnamed = LogColumn {
        name: None,
        ..column(ty::LONG, Meta::None)
    };
    let error = reader(unnamed, ColumnType::Bool).unwrap_err();
    assert!(error.hint_text().unwrap().contains("binlog_row_metadata = FULL"));
}

#[test]
fn no_bytes_panic() {
    let mut state = 7_u64;
    let mut random = |len: usize| -> Vec<u8> {
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 40) as u8
            })
            .collect()
    };
    for ty in 0..=255 {
        for meta in [
            Meta::None,
            Meta::Small(0),
            Meta::Small(4),
            Meta::Small(255),
            Meta::Length(300),
            Meta::Length(64),
        ] {
            let column = LogColumn {
                collation: Some(45),
                labels: vec![b"a"],
                ..column(ty, meta)
            };
            let Ok(reader) = reader(column, ColumnType::Bool) else {
                continue;
            };
            for len in 0..24 {
                let _ = decode_row(&reader, &mut Cursor::new(&random(len)));
            }
        }
    }
}
