CREATE TABLE articles (id int PRIMARY KEY, title varchar(80), teaser varchar(200), visits int NOT NULL);
CREATE TABLE contracts (id int PRIMARY KEY, terms varchar(200) NOT NULL);
