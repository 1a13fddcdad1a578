-- The shop: MySQL. It had customers before there was a CRM, and counts them itself.
CREATE TABLE customers (
    id bigint AUTO_INCREMENT PRIMARY KEY,
    crm_id bigint NULL UNIQUE,      -- what the CRM calls this customer, if it knows it
    email varchar(80),
    name varchar(80) NOT NULL,
    points int NOT NULL DEFAULT 0   -- the shop's alone
);
INSERT INTO customers (id, email, name, points) VALUES
    (1, 'ada@example.com', 'Ada', 120),
    (2, 'zoe@example.com', 'Zoe', 5),
    (3, 'ben@example.com', 'Ben Carter', 40);
