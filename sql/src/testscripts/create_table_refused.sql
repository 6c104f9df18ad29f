# What a table cannot have, by PostgreSQL's rules.
CREATE TABLE t (a INT PRIMARY KEY, a TEXT)
---
ERROR:  42701: column "a" specified more than once
POSITION:  36

CREATE TABLE t (a INT, PRIMARY KEY (b))
---
ERROR:  42703: column "b" named in key does not exist
POSITION:  37

CREATE TABLE t (a INT PRIMARY KEY, PRIMARY KEY (a))
---
ERROR:  42P16: multiple primary keys for table "t" are not allowed
POSITION:  49

CREATE TABLE t (a INT, PRIMARY KEY (a, a))
---
ERROR:  42701: column "a" appears twice in primary key constraint
POSITION:  40

CREATE TABLE n (a INT NULL PRIMARY KEY)
---
CREATE TABLE

CREATE TABLE t (a INT PRIMARY KEY, b INT NULL NOT NULL)
---
ERROR:  42601: conflicting NULL/NOT NULL declarations for column "b" of table "t"
POSITION:  36

CREATE TABLE t (a INT PRIMARY KEY DEFAULT 'x')
---
ERROR:  22P02: invalid input syntax for type integer: "x"

CREATE TABLE t (a INT PRIMARY KEY DEFAULT true)
---
ERROR:  42804: column "a" is of type integer but default expression is of type boolean
HINT:  You will need to rewrite or cast the expression.

CREATE TABLE t (a INT PRIMARY KEY, b INT DEFAULT a)
---
ERROR:  0A000: cannot use column reference in DEFAULT expression
POSITION:  50

CREATE TABLE t (a INT PRIMARY KEY, b INT DEFAULT count(*))
---
ERROR:  42803: aggregate functions are not allowed in DEFAULT expressions
POSITION:  50

CREATE TABLE t (a INT PRIMARY KEY, b INT DEFAULT 1 DEFAULT 2)
---
ERROR:  42601: multiple default values specified for column "b" of table "t"
POSITION:  36

CREATE TABLE t (a nosuch PRIMARY KEY)
---
ERROR:  42704: type "nosuch" does not exist

CREATE TABLE t (a INT PRIMARY KEY)
---
CREATE TABLE

CREATE TABLE t (a INT PRIMARY KEY)
---
ERROR:  42P07: relation "t" already exists

CREATE TABLE IF NOT EXISTS t (a INT PRIMARY KEY)
---
NOTICE:  relation "t" already exists, skipping
CREATE TABLE

DROP TABLE t
---
DROP TABLE

DROP TABLE t
---
ERROR:  42P01: table "t" does not exist

DROP TABLE IF EXISTS t
---
NOTICE:  table "t" does not exist, skipping
DROP TABLE

CREATE TABLE a (x INT PRIMARY KEY)
---
CREATE TABLE

CREATE TABLE b (x INT PRIMARY KEY)
---
CREATE TABLE

DROP TABLE a, nosuch
---
ERROR:  42P01: table "nosuch" does not exist

DROP TABLE a, b
---
DROP TABLE

SELECT * FROM a
---
ERROR:  42P01: relation "a" does not exist
POSITION:  15

CREATE TABLE other.t (a INT PRIMARY KEY)
---
ERROR:  3F000: schema "other" does not exist
HINT:  All tables are in the schema public.
POSITION:  14
