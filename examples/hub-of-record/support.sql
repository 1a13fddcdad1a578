CREATE TABLE customers (
    id     bigint PRIMARY KEY,
    name   varchar(100) NOT NULL,
    email  varchar(100),
    phone  varchar(40),
    credit decimal(10, 2) NOT NULL DEFAULT 0
) DEFAULT CHARACTER SET utf8mb4;

CREATE TABLE prices (
    article varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin PRIMARY KEY,
    amount  decimal(10, 2) NOT NULL
);
