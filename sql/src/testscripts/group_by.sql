# Groups, and what may be said of them.
CREATE TABLE t (id INT PRIMARY KEY, g TEXT, n INT)
---
CREATE TABLE

INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 2), (3, 'b', 3), (4, NULL, 4), (5, NULL, NULL), (6, 'b', 3)
---
INSERT 0 6

SELECT g, count(*), sum(n), min(n), max(n), avg(n) FROM t GROUP BY g ORDER BY g
---
g|count|sum|min|max|avg
a|2|3|1|2|1.5000000000000000
b|2|6|3|3|3.0000000000000000
NULL|2|4|4|4|4.0000000000000000

SELECT count(*), count(n), count(DISTINCT n), sum(DISTINCT n) FROM t
---
count|count|count|sum
6|5|4|10

SELECT g, count(*) FILTER (WHERE n > 2) FROM t GROUP BY 1 ORDER BY 1 NULLS FIRST
---
g|count
NULL|1
a|0
b|2

SELECT g AS x, count(*) FROM t GROUP BY x HAVING count(*) > 1 ORDER BY x
---
x|count
a|2
b|2
NULL|2

SELECT upper(g), sum(n) + 1 FROM t GROUP BY upper(g) ORDER BY 1
---
upper|?column?
A|4
B|7
NULL|5

SELECT n % 2, count(*) FROM t GROUP BY n % 2 ORDER BY 2, 1
---
?column?|count
NULL|1
0|2
1|3

SELECT g, n FROM t GROUP BY g
---
ERROR:  42803: column "t.n" must appear in the GROUP BY clause or be used in an aggregate function

SELECT id, g, n FROM t GROUP BY id ORDER BY id LIMIT 2
---
id|g|n
1|a|1
2|a|2

SELECT t.g FROM t GROUP BY t.n
---
ERROR:  42803: column "t.g" must appear in the GROUP BY clause or be used in an aggregate function

SELECT count(*) FROM t WHERE false
---
count
0

SELECT g, count(*) FROM t WHERE false GROUP BY g
---
g|count

SELECT sum(n) FROM t WHERE false
---
sum
NULL

SELECT count(*) FROM t HAVING count(*) > 100
---
count

SELECT 1 FROM t HAVING true
---
?column?
1

SELECT count(count(*)) FROM t
---
ERROR:  42803: aggregate function calls cannot be nested
POSITION:  14

SELECT g FROM t WHERE count(*) > 1
---
ERROR:  42803: aggregate functions are not allowed in WHERE
POSITION:  23

SELECT g FROM t GROUP BY count(*)
---
ERROR:  42803: aggregate functions are not allowed in GROUP BY
POSITION:  26

SELECT count(*) FROM t GROUP BY 1
---
ERROR:  42803: aggregate functions are not allowed in GROUP BY

SELECT g FROM t GROUP BY 2
---
ERROR:  42P10: GROUP BY position 2 is not in select list
POSITION:  26

SELECT g FROM t GROUP BY 'x'
---
ERROR:  42601: non-integer constant in GROUP BY
POSITION:  26

SELECT n + 1 FROM t GROUP BY n + 1 ORDER BY n + 1
---
?column?
2
3
4
5
NULL

SELECT n + 2 FROM t GROUP BY n + 1
---
ERROR:  42803: column "t.n" must appear in the GROUP BY clause or be used in an aggregate function

SELECT g FROM t ORDER BY count(*)
---
ERROR:  42803: column "t.g" must appear in the GROUP BY clause or be used in an aggregate function

SELECT sum(g) FROM t
---
ERROR:  42883: function sum(text) does not exist
HINT:  No function matches the given name and argument types. You might need to add explicit type casts.
POSITION:  8

SELECT count(1, 2)
---
ERROR:  42883: function count(integer, integer) does not exist
HINT:  No function matches the given name and argument types. You might need to add explicit type casts.
POSITION:  8

SELECT bool_and(n > 0), bool_or(n > 3), every(n < 10) FROM t
---
bool_and|bool_or|every
t|t|t

SELECT g, n FROM t GROUP BY n, g HAVING n = 3
---
g|n
b|3

SELECT sum(n) FILTER (WHERE n) FROM t
---
ERROR:  42804: argument of FILTER must be type boolean, not type integer
POSITION:  29

SELECT count() FROM t
---
ERROR:  42809: count(*) must be used to call a parameterless aggregate function
POSITION:  8

SELECT max(id) - min(id) AS spread, g FROM t GROUP BY g ORDER BY spread DESC, g LIMIT 1
---
spread|g
3|b
