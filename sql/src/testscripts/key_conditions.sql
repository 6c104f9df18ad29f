# Conditions on keys find what a filter would.
CREATE TABLE t (a INT, b SMALLINT, c TEXT, v INT, PRIMARY KEY (a, b, c))
---
CREATE TABLE

INSERT INTO t VALUES (1, 1, 'a', 1), (1, 1, 'b', 2), (1, 2, 'a', 3), (2, 1, 'a', 4), (2, 2, 'b', 5), (3, 3, 'c', 6), (-1, -1, '', 7)
---
INSERT 0 7

SELECT v FROM t WHERE a = 1 AND b = 1 AND c = 'b'
---
v
2

SELECT v FROM t WHERE a = 1 ORDER BY v
---
v
1
2
3

SELECT v FROM t WHERE a = 1 AND b > 1
---
v
3

SELECT v FROM t WHERE a IN (1, 3, 3, 9) AND b >= 2 ORDER BY v
---
v
3
6

SELECT v FROM t WHERE a = 1 AND c = 'a' ORDER BY v
---
v
1
3

SELECT v FROM t WHERE (a = 1 AND b = 2) OR (a = 2 AND b = 1) ORDER BY v
---
v
3
4

SELECT v FROM t WHERE a = 1 OR a = 3 ORDER BY v
---
v
1
2
3
6

SELECT v FROM t WHERE a < 5000000000 ORDER BY v
---
v
1
2
3
4
5
6
7

SELECT v FROM t WHERE a > 5000000000
---
v

SELECT v FROM t WHERE a = 5000000000
---
v

SELECT v FROM t WHERE a = 1.5
---
v

SELECT v FROM t WHERE a > 1.5 AND a < 2.5 ORDER BY v
---
v
4
5

SELECT v FROM t WHERE a = 2.0 ORDER BY v
---
v
4
5

SELECT v FROM t WHERE b = 70000 OR a <= -0.5
---
v
7

SELECT v FROM t WHERE a = NULL
---
v

SELECT v FROM t WHERE a > NULL
---
v

SELECT v FROM t WHERE a IN (NULL, 3)
---
v
6

SELECT v FROM t WHERE a IS NULL
---
v

SELECT v FROM t WHERE a > 1::float8 / 3 ORDER BY v
---
v
1
2
3
4
5
6

SELECT v FROM t WHERE a >= 'NaN'::float8
---
v

SELECT v FROM t WHERE a < 'Infinity'::float8 AND a >= 3
---
v
6

SELECT v FROM t WHERE 2 < a
---
v
6

SELECT v FROM t WHERE a BETWEEN 2 AND 3 ORDER BY v
---
v
4
5
6

SELECT v FROM t WHERE a BETWEEN 3 AND 2
---
v

SELECT v FROM t WHERE a > 1 AND a > 2 AND a <= 3 AND a < 10
---
v
6

SELECT v FROM t WHERE a = 1 AND a = 2
---
v

SELECT v FROM t WHERE a IS NOT DISTINCT FROM 3
---
v
6

SELECT v FROM t WHERE a = 1 AND b = 1 AND c >= 'b'
---
v
2

SELECT v FROM t WHERE a = '3'
---
v
6

SELECT v FROM t WHERE a = 1 / 0
---
ERROR:  22012: division by zero

SELECT v FROM t WHERE NOT a = 1 ORDER BY v
---
v
4
5
6
7

SELECT v FROM t WHERE a = 1 AND v = 3
---
v
3

SELECT v FROM t WHERE a = b AND a = 3
---
v
6

SELECT v FROM t WHERE a = 3 OR v = 7 ORDER BY v
---
v
6
7
