CREATE TABLE orders (
    id      int PRIMARY KEY,
    contact varchar(80) NOT NULL,
    open    boolean NOT NULL,
    remark  varchar(200),
    desk    varchar(20)
);
