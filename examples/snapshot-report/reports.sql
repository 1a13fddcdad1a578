-- The report database: MySQL or MariaDB. Its views stay as they are, whatever image is below them.
CREATE TABLE customer (
    id   BIGINT PRIMARY KEY,
    name VARCHAR(100) NOT NULL
);

CREATE TABLE purchase (
    id       BIGINT PRIMARY KEY,
    customer BIGINT NOT NULL,
    status   VARCHAR(10) NOT NULL,
    total    DECIMAL(12, 2) NOT NULL
);

CREATE TABLE stock_count (
    shelf   VARCHAR(10) NOT NULL,
    article VARCHAR(20) NOT NULL,
    pieces  INT NOT NULL
);

CREATE VIEW revenue AS
    SELECT customer.name, COUNT(*) AS purchases, SUM(purchase.total) AS paid
      FROM customer JOIN purchase ON purchase.customer = customer.id
     GROUP BY customer.name;
