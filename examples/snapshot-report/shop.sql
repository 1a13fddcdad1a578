-- The shop: PostgreSQL.
CREATE TABLE customer (
    id    bigint PRIMARY KEY,
    name  varchar(100) NOT NULL,
    email varchar(200) NOT NULL
);

CREATE TABLE purchase (
    id       bigint PRIMARY KEY,
    customer bigint NOT NULL REFERENCES customer,
    status   varchar(10) NOT NULL,
    total    numeric(12, 2) NOT NULL
);

-- What the scanners in the warehouse count. It has no key, and the same line may come twice.
CREATE TABLE stock_count (
    shelf   varchar(10) NOT NULL,
    article varchar(20) NOT NULL,
    pieces  integer NOT NULL
);

INSERT INTO customer VALUES
    (1, 'Ada', 'ada@shop.example'), (2, 'Ben', 'ben@shop.example'), (3, 'Cleo', 'cleo@shop.example');

INSERT INTO purchase VALUES
    (1, 1, 'paid', 20.00), (2, 1, 'paid', 5.50), (3, 2, 'open', 99.00), (4, 3, 'paid', 12.25);

INSERT INTO stock_count VALUES ('A1', 'mug', 12), ('A1', 'mug', 12), ('B7', 'plate', 40);
