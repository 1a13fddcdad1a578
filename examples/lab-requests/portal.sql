-- The portal where doctors order tests: PostgreSQL.
CREATE TABLE requests (
    id            bigint PRIMARY KEY,
    patient       varchar(20) NOT NULL,
    test          varchar(40) NOT NULL,
    lab           varchar(20) NOT NULL,      -- who is to do it
    status        varchar(20) NOT NULL DEFAULT 'ordered',
    result        varchar(100),
    result_unit   varchar(20),
    reject_reason varchar(200)
);
INSERT INTO requests (id, patient, test, lab) VALUES
    (1, 'P-1001', 'Haemoglobin', 'north'),
    (2, 'P-1002', 'Glucose', 'south'),
    (3, 'P-1003', 'Sodium', 'north');
