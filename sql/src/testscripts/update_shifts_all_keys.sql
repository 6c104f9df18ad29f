# Ours: a statement that moves rows onto each other's old keys succeeds; PostgreSQL checks row by row.
CREATE TABLE t (id INT PRIMARY KEY, v TEXT)
---
CREATE TABLE

INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')
---
INSERT 0 3

UPDATE t SET id = id + 1
---
UPDATE 3

SELECT * FROM t ORDER BY id
---
id|v
2|a
3|b
4|c

UPDATE t SET id = 6 - id
---
UPDATE 3

SELECT * FROM t ORDER BY id
---
id|v
2|c
3|b
4|a
