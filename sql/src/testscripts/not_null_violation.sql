# NULL where it is refused.
CREATE TABLE t (id INT PRIMARY KEY, name TEXT NOT NULL, at TIMESTAMPTZ, b BYTEA)
---
CREATE TABLE

INSERT INTO t VALUES (1, NULL, '2026-11-25 00:00:00+00', '\x01')
---
ERROR:  23502: null value in column "name" of relation "t" violates not-null constraint
DETAIL:  Failing row contains (1, null, 2026-11-25 00:00:00+00, \x01).

INSERT INTO t (name) VALUES ('x')
---
ERROR:  23502: null value in column "id" of relation "t" violates not-null constraint
DETAIL:  Failing row contains (null, x, null, null).

INSERT INTO t VALUES (1, 'x')
---
INSERT 0 1

UPDATE t SET name = NULL
---
ERROR:  23502: null value in column "name" of relation "t" violates not-null constraint
DETAIL:  Failing row contains (1, null, null, null).

UPDATE t SET id = NULL
---
ERROR:  23502: null value in column "id" of relation "t" violates not-null constraint
DETAIL:  Failing row contains (null, x, null, null).

SELECT * FROM t
---
id|name|at|b
1|x|NULL|NULL
