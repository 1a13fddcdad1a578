CREATE TABLE customers (
    id     bigint PRIMARY KEY,
    name   varchar(100) NOT NULL,
    email  varchar(100),
    phone  varchar(40),
    credit numeric(10, 2) NOT NULL DEFAULT 0
);

CREATE TABLE prices (
    article varchar(20) PRIMARY KEY,
    amount  numeric(10, 2) NOT NULL
);

INSERT INTO customers VALUES
    (1, 'Ada Lovelace', 'ada@example.com', '+44 20 1', 500.00),
    (2, 'Grace Hopper', 'grace@example.com', NULL, 1200.00),
    (3, 'Jean Bartik', NULL, '+1 660 3', 0.00);

INSERT INTO prices VALUES ('lamp', 39.90), ('desk', 249.00);
