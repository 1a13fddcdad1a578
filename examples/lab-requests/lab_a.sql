-- The northern laboratory: MySQL.
CREATE TABLE requests (
    id            bigint PRIMARY KEY,
    patient       varchar(20) NOT NULL,
    test          varchar(40) NOT NULL,
    lab           varchar(20) NOT NULL,
    status        varchar(20) NOT NULL DEFAULT 'ordered',
    result        varchar(100),
    result_unit   varchar(20),
    reject_reason varchar(200)
) DEFAULT CHARACTER SET utf8mb4;
