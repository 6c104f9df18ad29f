# Orders: by name, position, expression; NULLs last, or first when descending.
CREATE TABLE t (id INT PRIMARY KEY, a INT, s TEXT)
---
CREATE TABLE

INSERT INTO t VALUES (1, 3, 'B'), (2, NULL, 'a'), (3, 1, NULL), (4, 3, 'b'), (5, 2, 'A'), (6, 1, 'c')
---
INSERT 0 6

SELECT id FROM t ORDER BY a, id
---
id
3
6
5
1
4
2

SELECT id, a FROM t ORDER BY a DESC, id DESC
---
id|a
2|NULL
4|3
1|3
5|2
6|1
3|1

SELECT id FROM t ORDER BY a NULLS FIRST, id
---
id
2
3
6
5
1
4

SELECT id FROM t ORDER BY a DESC NULLS LAST, s
---
id
1
4
5
6
3
2

SELECT s FROM t ORDER BY s
---
s
A
B
a
b
c
NULL

SELECT id, -a AS minus FROM t ORDER BY minus, 1
---
id|minus
1|-3
4|-3
5|-2
3|-1
6|-1
2|NULL

SELECT id FROM t ORDER BY a + id, id
---
id
1
3
4
5
6
2

SELECT id FROM t ORDER BY 2
---
ERROR:  42P10: ORDER BY position 2 is not in select list
POSITION:  27

SELECT id FROM t ORDER BY 'x'
---
ERROR:  42601: non-integer constant in ORDER BY
POSITION:  27

SELECT id FROM t ORDER BY 0
---
ERROR:  42P10: ORDER BY position 0 is not in select list
POSITION:  27

SELECT id FROM t ORDER BY id DESC LIMIT 2
---
id
6
5

SELECT id FROM t ORDER BY id OFFSET 4
---
id
5
6

SELECT id FROM t ORDER BY a, id LIMIT 2 OFFSET 1
---
id
6
5

SELECT id AS a FROM t ORDER BY a LIMIT 3
---
a
1
2
3

SELECT a, s AS a FROM t ORDER BY a
---
ERROR:  42702: ORDER BY "a" is ambiguous
POSITION:  34

SELECT DISTINCT a FROM t ORDER BY a
---
a
1
2
3
NULL

SELECT DISTINCT a FROM t ORDER BY id
---
ERROR:  42P10: for SELECT DISTINCT, ORDER BY expressions must appear in select list

SELECT DISTINCT a + 1 FROM t ORDER BY a + 1 DESC LIMIT 2
---
?column?
NULL
4

SELECT DISTINCT a, a FROM t ORDER BY 1
---
a|a
1|1
2|2
3|3
NULL|NULL

SELECT t.s FROM t ORDER BY t.id LIMIT 1
---
s
B
