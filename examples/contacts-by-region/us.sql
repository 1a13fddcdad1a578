-- The US team: MySQL.
CREATE TABLE contacts (
    id bigint AUTO_INCREMENT PRIMARY KEY,
    name varchar(80) NOT NULL,
    phone varchar(30),
    region varchar(4) NOT NULL,
    status varchar(10) NOT NULL DEFAULT 'open'
) AUTO_INCREMENT = 1003;
INSERT INTO contacts (id, name, phone, region, status) VALUES
    (1001, 'Prairie Freight', '+1 312 555 0103', 'US', 'open'),
    (1002, 'A hunch', NULL, 'US', 'private');
