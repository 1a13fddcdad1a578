CREATE TABLE phones (person varchar(20) PRIMARY KEY, phone varchar(20) NOT NULL);
CREATE TABLE addresses (person varchar(20) PRIMARY KEY, town varchar(40) NOT NULL);
CREATE TABLE deals (id int PRIMARY KEY, stage varchar(10) NOT NULL, note varchar(80));
INSERT INTO phones VALUES ('John', '555-0100'), ('Jane', '555-0200');
INSERT INTO addresses VALUES ('John', 'Ulm'), ('Jane', 'Jena');
INSERT INTO deals VALUES (1, 'lead', NULL);
