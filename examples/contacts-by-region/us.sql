-- The US team: MySQL.
CREATE TABLE contacts (
    id bigint AUTO_INCREMENT PRIMARY KEY,
    name varchar(80) NOT NULL,
    phone varchar(30),
    region varchar(4) NOT NULL,
    private boolean NOT NULL DEFAULT false
);
INSERT INTO contacts (id, name, phone, region, private) VALUES
    (1001, 'Prairie Freight', '+1 312 555 0103', 'US', false),
    (1002, 'A hunch', NULL, 'US', true);
