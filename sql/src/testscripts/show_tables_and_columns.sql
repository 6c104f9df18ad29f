# Ours: SHOW TABLES, SHOW COLUMNS, SHOW CREATE TABLE.
SHOW TABLES
---
table_name

CREATE TABLE t (id BIGINT, name TEXT NOT NULL DEFAULT 'a' || 'b', "Odd name" INT, "select" BYTEA, PRIMARY KEY (name, id))
---
CREATE TABLE

CREATE TABLE a (x INT PRIMARY KEY)
---
CREATE TABLE

SHOW TABLES
---
table_name
a
t

SHOW COLUMNS FROM t
---
column_name|data_type|is_nullable|column_default|key_position
id|bigint|f|NULL|2
name|text|f|'a' || 'b'|1
Odd name|integer|t|NULL|NULL
select|bytea|t|NULL|NULL

SHOW CREATE TABLE t
---
table_name|create_statement
t|CREATE TABLE t (
  id BIGINT NOT NULL,
  name TEXT NOT NULL DEFAULT 'a' || 'b',
  "Odd name" INT,
  "select" BYTEA,
  PRIMARY KEY (name, id)
)

SHOW CREATE TABLE public.a
---
table_name|create_statement
a|CREATE TABLE a (
  x INT NOT NULL,
  PRIMARY KEY (x)
)

SHOW COLUMNS FROM nosuch
---
ERROR:  42P01: relation "nosuch" does not exist
POSITION:  19

SHOW CREATE TABLE nosuch
---
ERROR:  42P01: relation "nosuch" does not exist
POSITION:  19
