-- The US team: MySQL.
CREATE TABLE contacts (
    id bigint PRIMARY KEY,          -- given by the application: from 1001
    name varchar(80) NOT NULL,
    phone varchar(30),
    region varchar(4) NOT NULL,
    status varchar(10) NOT NULL DEFAULT 'open'
);
INSERT INTO contacts (id, name, phone, region, status) VALUES
    (1001, 'Prairie Freight', '+1 312 555 0103', 'US', 'open'),
    (1002, 'A hunch', NULL, 'US', 'private');
