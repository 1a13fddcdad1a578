//! Tables that several suites share.

use super::Table;

pub const ITEM: Table = Table {
    name: "item",
    body: "id bigint NOT NULL PRIMARY KEY, name varchar(100), n int NOT NULL, note {text}",
    key: &["id"],
    columns: &["name", "n", "note"],
};

/// Long texts are stored apart from their rows, and not sent when they did not change.
pub const DOC: Table = Table {
    name: "doc",
    body: "id int NOT NULL PRIMARY KEY, title varchar(100), body {text}, raw {bytes}",
    key: &["id"],
    columns: &["title", "body", "raw"],
};

pub const WORD: Table = Table {
    name: "word",
    body: "w {word} NOT NULL PRIMARY KEY, n int NOT NULL",
    key: &["w"],
    columns: &["n"],
};

pub const LINE: Table = Table {
    name: "line",
    body: "ord int NOT NULL, part {word} NOT NULL, qty int, PRIMARY KEY (ord, part)",
    key: &["ord", "part"],
    columns: &["qty"],
};

pub const SEAT: Table = Table {
    name: "seat",
    body: "id int NOT NULL PRIMARY KEY, place varchar(20), CONSTRAINT seat_place UNIQUE (place)",
    key: &["id"],
    columns: &["place"],
};

pub const ORDER_HEAD: Table = Table {
    name: "order_head",
    body: "id int NOT NULL PRIMARY KEY, customer varchar(50)",
    key: &["id"],
    columns: &["customer"],
};

pub const ORDER_LINE: Table = Table {
    name: "order_line",
    body: "id int NOT NULL PRIMARY KEY, head int NOT NULL, qty int, FOREIGN KEY (head) REFERENCES order_head (id)",
    key: &["id"],
    columns: &["head", "qty"],
};

pub const SHOP: [Table; 7] = [ITEM, DOC, WORD, LINE, SEAT, ORDER_HEAD, ORDER_LINE];
