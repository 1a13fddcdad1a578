CREATE TABLE orders (
    id         int PRIMARY KEY,
    email      varchar(80) NOT NULL,
    status     varchar(10) NOT NULL DEFAULT 'paid',
    total      decimal(10,2) NOT NULL DEFAULT 0,
    card_token varchar(40),
    remark     varchar(200)
);
INSERT INTO orders VALUES (1, 'ada@example.com', 'paid', 25.50, 'tok_1', NULL), (2, 'ben@example.com', 'sent', 99, 'tok_2', NULL);
