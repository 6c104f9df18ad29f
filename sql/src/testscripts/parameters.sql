# The types of parameters come from where they stand.
CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT, at TIMESTAMPTZ, d FLOAT8)
---
CREATE TABLE

INSERT INTO t VALUES (1, 'one', '2026-01-01 00:00:00+00', 1.5), (2, 'two', NULL, NULL)
---
INSERT 0 2

PREPARE by_id AS SELECT name FROM t WHERE id = $1
---
PREPARE

EXECUTE by_id (1)
---
name
one

EXECUTE by_id ('2')
---
name
two

EXECUTE by_id (NULL)
---
name

EXECUTE by_id (1 + 1)
---
name
two

PREPARE put AS INSERT INTO t VALUES ($1, $2, $3, $4)
---
PREPARE

EXECUTE put (3, 'three', '2026-01-03 00:00:00+00', 3)
---
INSERT 0 1

PREPARE change AS UPDATE t SET name = $2 || name, d = d + $3 WHERE id = $1
---
PREPARE

EXECUTE change (3, 'x', 1.25)
---
UPDATE 1

SELECT * FROM t ORDER BY id
---
id|name|at|d
1|one|2026-01-01 00:00:00+00|1.5
2|two|NULL|NULL
3|xthree|2026-01-03 00:00:00+00|4.25

PREPARE page AS SELECT id FROM t ORDER BY id LIMIT $1 OFFSET $2
---
PREPARE

EXECUTE page (1, 1)
---
id
2

EXECUTE page (NULL, 1)
---
id
2
3

PREPARE many AS SELECT id FROM t WHERE id IN ($1, $2) ORDER BY 1
---
PREPARE

EXECUTE many (3, 1)
---
id
1
3

PREPARE typed (int) AS SELECT $1 + 1, $2::text
---
PREPARE

EXECUTE typed (4, 'q')
---
?column?|text
5|q

PREPARE odd AS SELECT $2
---
ERROR:  42P18: could not determine data type of parameter $1

PREPARE unknown AS SELECT $1 IS NULL
---
ERROR:  42P18: could not determine data type of parameter $1
POSITION:  27

EXECUTE unknown (NULL)
---
ERROR:  26000: prepared statement "unknown" does not exist

EXECUTE nosuch
---
ERROR:  26000: prepared statement "nosuch" does not exist

PREPARE zero AS SELECT $0
---
ERROR:  42P02: there is no parameter $0
POSITION:  24

EXECUTE typed (true, 'q')
---
ERROR:  42804: parameter $1 of type boolean cannot be coerced to the expected type integer
HINT:  You will need to rewrite or cast the expression.

PREPARE co AS SELECT coalesce($1, 5), CASE WHEN $2 THEN 1 END, $3 LIKE 'a%', upper($4)
---
PREPARE

EXECUTE co (NULL, true, 'abc', 'x')
---
coalesce|case|?column?|upper
5|1|t|X
