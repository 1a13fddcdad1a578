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
