# Rows are changed and deleted by any condition.
CREATE TABLE t (a INT, b TEXT, c INT, PRIMARY KEY (a, b))
---
CREATE TABLE

INSERT INTO t VALUES (1, 'x', 1), (1, 'y', 2), (2, 'x', 3), (2, 'y', 4), (3, 'z', NULL)
---
INSERT 0 5

UPDATE t SET c = c * 10 WHERE a = 1
---
UPDATE 2

UPDATE t SET c = a + c, b = b WHERE b = 'y' AND c > 3
---
UPDATE 2

DELETE FROM t WHERE c IS NULL
---
DELETE 1

DELETE FROM t WHERE a = 1 AND b IN ('x', 'q')
---
DELETE 1

DELETE FROM t WHERE a = 9
---
DELETE 0

SELECT * FROM t ORDER BY a, b
---
a|b|c
1|y|21
2|x|3
2|y|6

DELETE FROM t
---
DELETE 3

SELECT count(*) FROM t
---
count
0

DELETE FROM t WHERE 1
---
ERROR:  42804: argument of WHERE must be type boolean, not type integer
POSITION:  21

UPDATE t SET c = 1 WHERE 'x'
---
ERROR:  22P02: invalid input syntax for type boolean: "x"
