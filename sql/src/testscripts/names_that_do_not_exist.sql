# Tables and columns that are not there.
CREATE TABLE t (id INT PRIMARY KEY, a INT)
---
CREATE TABLE

SELECT * FROM nosuch
---
ERROR:  42P01: relation "nosuch" does not exist
POSITION:  15

SELECT b FROM t
---
ERROR:  42703: column "b" does not exist
POSITION:  8

SELECT t.b FROM t
---
ERROR:  42703: column t.b does not exist
POSITION:  8

SELECT u.a FROM t
---
ERROR:  42P01: missing FROM-clause entry for table "u"
POSITION:  8

SELECT t.a FROM t AS u
---
ERROR:  42P01: invalid reference to FROM-clause entry for table "t"
HINT:  Perhaps you meant to reference the table alias "u".
POSITION:  8

SELECT x.a, u.id FROM t u
---
ERROR:  42P01: missing FROM-clause entry for table "x"
POSITION:  8

SELECT u.* FROM t u
---
id|a

SELECT t.* FROM t u
---
ERROR:  42P01: invalid reference to FROM-clause entry for table "t"
HINT:  Perhaps you meant to reference the table alias "u".
POSITION:  8

SELECT A, "a" FROM T
---
a|a

SELECT "A" FROM t
---
ERROR:  42703: column "A" does not exist
POSITION:  8

SELECT public.t.a FROM public.t
---
a

SELECT * FROM other.t
---
ERROR:  42P01: relation "other.t" does not exist
HINT:  All tables are in the schema public.
POSITION:  15

INSERT INTO nosuch VALUES (1)
---
ERROR:  42P01: relation "nosuch" does not exist
POSITION:  13

INSERT INTO t (b) VALUES (1)
---
ERROR:  42703: column "b" of relation "t" does not exist
POSITION:  16

UPDATE t SET b = 1
---
ERROR:  42703: column "b" of relation "t" does not exist
POSITION:  14

UPDATE t SET a = b
---
ERROR:  42703: column "b" does not exist
POSITION:  18

DELETE FROM t WHERE b = 1
---
ERROR:  42703: column "b" does not exist
POSITION:  21

SELECT a FROM t ORDER BY b
---
ERROR:  42703: column "b" does not exist
POSITION:  26

SELECT a FROM t GROUP BY b
---
ERROR:  42703: column "b" does not exist
POSITION:  26

DROP TABLE nosuch
---
ERROR:  42P01: table "nosuch" does not exist

SELECT a x, id y FROM t ORDER BY x, y
---
x|y

SELECT q FROM t AS v (p, q)
---
q

SELECT a FROM t AS v (p, q)
---
ERROR:  42703: column "a" does not exist
POSITION:  8
