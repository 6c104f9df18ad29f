# A table is made, filled and read.
CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT NOT NULL, n INT DEFAULT 7)
---
CREATE TABLE

INSERT INTO t VALUES (1, 'one', 10), (2, 'two', NULL)
---
INSERT 0 2

INSERT INTO t (name, id) VALUES ('three', 3)
---
INSERT 0 1

SELECT * FROM t ORDER BY id
---
id|name|n
1|one|10
2|two|NULL
3|three|7

SELECT name, n + 1 FROM t WHERE id >= 2 ORDER BY name DESC
---
name|?column?
two|NULL
three|8

INSERT INTO t VALUES (1, 'one', 10)
---
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"

UPDATE t SET n = n + 1, name = name || '!' WHERE id = 1
---
UPDATE 1

SELECT count(*), sum(n), max(name) FROM t
---
count|sum|max
3|18|two

DELETE FROM t WHERE n = 7
---
DELETE 1

SELECT * FROM t ORDER BY id
---
id|name|n
1|one!|11
2|two|NULL
