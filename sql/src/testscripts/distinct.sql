# Equal rows once.
CREATE TABLE t (id INT PRIMARY KEY, a INT, b TEXT)
---
CREATE TABLE

INSERT INTO t VALUES (1, 1, 'x'), (2, 1, 'x'), (3, NULL, 'x'), (4, NULL, 'x'), (5, 2, NULL)
---
INSERT 0 5

SELECT DISTINCT a, b FROM t ORDER BY a, b
---
a|b
1|x
2|NULL
NULL|x

SELECT DISTINCT b FROM t ORDER BY b NULLS FIRST
---
b
NULL
x

SELECT count(DISTINCT a), count(DISTINCT b) FROM t
---
count|count
2|1

SELECT DISTINCT a FROM t ORDER BY a OFFSET 1
---
a
2
NULL

SELECT ALL a FROM t WHERE a = 1
---
a
1
1

SELECT DISTINCT a * 0 FROM t ORDER BY 1
---
?column?
0
NULL
