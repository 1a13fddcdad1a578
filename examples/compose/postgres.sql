-- The account that `run` uses; `tidelock setup` grants it what it needs.
CREATE ROLE tidelock_run LOGIN REPLICATION PASSWORD 'replicate';

CREATE TABLE customers (
    id    bigint PRIMARY KEY,
    name  varchar(100) NOT NULL,
    email varchar(200) UNIQUE,
    since date NOT NULL DEFAULT current_date
);
CREATE TABLE orders (
    id       bigint PRIMARY KEY,
    customer bigint NOT NULL REFERENCES customers,
    total    numeric(12, 2) NOT NULL,
    note     text
);
INSERT INTO customers SELECT n, 'Customer ' || n, 'customer' || n || '@shop.example', '2026-01-01'::date + n FROM generate_series(1, 10) AS n;
INSERT INTO orders SELECT n, 1 + n % 10, n * 9.95, NULL FROM generate_series(1, 30) AS n;

CREATE DATABASE crm;
\connect crm
CREATE TABLE contacts (
    id    bigint PRIMARY KEY,
    name  varchar(100) NOT NULL,
    phone varchar(40)
);
INSERT INTO contacts VALUES (1, 'John', '555-0100'), (2, 'Jane', '555-0101');
