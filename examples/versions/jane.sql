CREATE TABLE phones (person varchar(20) PRIMARY KEY, phone varchar(20) NOT NULL);
CREATE TABLE addresses (person varchar(20) PRIMARY KEY, town varchar(40) NOT NULL);
CREATE TABLE deals (id int PRIMARY KEY, stage varchar(10) NOT NULL, note varchar(80));
