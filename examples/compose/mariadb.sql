-- The account that `run` uses; `tidelock setup` grants it what it needs.
CREATE USER 'tidelock_run'@'%' IDENTIFIED BY 'replicate';

CREATE TABLE contacts (
    id    bigint PRIMARY KEY,
    name  varchar(100) NOT NULL,
    phone varchar(40)
) CHARACTER SET utf8mb4;
