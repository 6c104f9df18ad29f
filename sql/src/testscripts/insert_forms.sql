# Rows in all forms; what is left out is the default or NULL.
CREATE TABLE t (id INT PRIMARY KEY DEFAULT 100, name TEXT DEFAULT 'no' || 'name', n BIGINT)
---
CREATE TABLE

INSERT INTO t VALUES (1, 'one', 1), (2, DEFAULT, NULL), (3)
---
ERROR:  42601: VALUES lists must all be the same length

INSERT INTO t VALUES (1, 'one', 1), (2, DEFAULT, NULL)
---
INSERT 0 2

INSERT INTO t (n, id) VALUES (5, 3)
---
INSERT 0 1

INSERT INTO t DEFAULT VALUES
---
INSERT 0 1

INSERT INTO t (id) SELECT id + 10 FROM t WHERE id < 3
---
INSERT 0 2

INSERT INTO t (id, name) VALUES (4)
---
ERROR:  42601: INSERT has more target columns than expressions

INSERT INTO t (id) VALUES (4, 'x')
---
ERROR:  42601: INSERT has more expressions than target columns

INSERT INTO t VALUES (4, 'x', 1, 2)
---
ERROR:  42601: INSERT has more expressions than target columns

INSERT INTO t (id, id) VALUES (4, 5)
---
ERROR:  42701: column "id" specified more than once
POSITION:  20

INSERT INTO t VALUES (true)
---
ERROR:  42804: column "id" is of type integer but expression is of type boolean
HINT:  You will need to rewrite or cast the expression.

INSERT INTO t VALUES ('7', 8, '9')
---
INSERT 0 1

INSERT INTO t VALUES ('x')
---
ERROR:  22P02: invalid input syntax for type integer: "x"

INSERT INTO t VALUES (2147483648)
---
ERROR:  22003: integer out of range

INSERT INTO t VALUES (8.5)
---
INSERT 0 1

INSERT INTO t (id, n) SELECT 20, true
---
ERROR:  42804: column "n" is of type bigint but expression is of type boolean
HINT:  You will need to rewrite or cast the expression.

INSERT INTO t (id, name) SELECT 20, 7
---
INSERT 0 1

SELECT * FROM t ORDER BY id
---
id|name|n
1|one|1
2|noname|NULL
3|noname|5
7|8|9
9|noname|NULL
11|noname|NULL
12|noname|NULL
20|7|NULL
100|noname|NULL

INSERT INTO t SELECT id + 1000, name, n FROM t
---
INSERT 0 9

SELECT count(*), max(id) FROM t
---
count|max
18|1100

INSERT INTO t VALUES (1, 'twice', 1)
---
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"

INSERT INTO t VALUES (30, 'a', 1), (30, 'b', 1)
---
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"
DETAIL:  Key (id)=(30) already exists.

SELECT id FROM t WHERE id = 30
---
id

INSERT INTO t VALUES ($1)
---
ERROR:  42P02: there is no parameter $1

INSERT INTO t (id) VALUES (id)
---
ERROR:  42703: column "id" does not exist
POSITION:  28
