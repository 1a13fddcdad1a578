-- The account that `run` uses; `tidelock setup` grants it what it needs.
CREATE USER 'tidelock_run'@'%' IDENTIFIED BY 'replicate';

CREATE TABLE customers (
    id    bigint PRIMARY KEY,
    name  varchar(100) NOT NULL,
    email varchar(200) COLLATE utf8mb4_bin UNIQUE,
    since date NOT NULL DEFAULT (current_date)
) CHARACTER SET utf8mb4;
CREATE TABLE orders (
    id       bigint PRIMARY KEY,
    customer bigint NOT NULL,
    total    decimal(12, 2) NOT NULL,
    note     longtext,
    FOREIGN KEY (customer) REFERENCES customers (id)
) CHARACTER SET utf8mb4;
