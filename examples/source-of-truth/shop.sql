CREATE TABLE products (id int PRIMARY KEY, title varchar(80) NOT NULL, retired boolean NOT NULL);
CREATE TABLE prices (product int PRIMARY KEY, amount decimal(10,2) NOT NULL, currency char(3) NOT NULL);
