-- The Canadian team: PostgreSQL.
CREATE TABLE contacts (
    id bigint PRIMARY KEY,          -- given by the application: 1 to 999
    name varchar(80) NOT NULL,
    phone varchar(30),
    region varchar(4) NOT NULL,
    status varchar(10) NOT NULL DEFAULT 'open'
);
INSERT INTO contacts (id, name, phone, region, status) VALUES
    (1, 'Maple Mills', '+1 514 555 0101', 'CA', 'open'),
    (2, 'Northern Rail', '+1 416 555 0102', 'BOTH', 'open'),
    (3, 'A rumour', NULL, 'CA', 'private');
