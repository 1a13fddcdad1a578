CREATE TABLE products (id int PRIMARY KEY, label varchar(80) NOT NULL, retired boolean NOT NULL DEFAULT false);
CREATE TABLE prices (product int PRIMARY KEY, amount decimal(10,2) NOT NULL, currency char(3) NOT NULL);
INSERT INTO products VALUES (1, 'Mug', false), (2, 'Plate', false), (3, 'Jar', true);
INSERT INTO prices VALUES (1, 9.50, 'EUR'), (2, 14.00, 'EUR'), (3, 4.00, 'EUR');
