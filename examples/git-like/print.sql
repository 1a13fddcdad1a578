CREATE TABLE articles (id int PRIMARY KEY, title varchar(80), teaser varchar(200), visits int NOT NULL);
CREATE TABLE contracts (id int PRIMARY KEY, terms varchar(200) NOT NULL);
INSERT INTO articles VALUES (1, 'Tides', 'Why the sea comes and goes', 10);
INSERT INTO contracts VALUES (1, '30 days');
