# Ours: EXPLAIN prints the keys that are read and what is done with the rows.
CREATE TABLE t (a INT, b TEXT, c BIGINT, PRIMARY KEY (a, b))
---
CREATE TABLE

EXPLAIN SELECT * FROM t
---
QUERY PLAN
Scan t, all keys

EXPLAIN SELECT c FROM t WHERE a = 1 AND b = 'x'
---
QUERY PLAN
Scan t, keys a = 1, b = 'x'

EXPLAIN SELECT c FROM t WHERE a IN (1, 2) AND b > 'x' AND b <= 'y' AND c = 3
---
QUERY PLAN
Filter c = 3
  Scan t, keys a in (1, 2), b > 'x', b <= 'y'

EXPLAIN SELECT a FROM t WHERE (a = 1 AND b = 'x') OR (a = 2 AND b < 'y')
---
QUERY PLAN
Scan t, keys a = 1, b = 'x' or a = 2, b < 'y'

EXPLAIN SELECT * FROM t ORDER BY a, b LIMIT 10 OFFSET 5
---
QUERY PLAN
Limit 10, Offset 5
  Scan t, all keys, as many as the limit

EXPLAIN SELECT * FROM t WHERE a = 1 ORDER BY b LIMIT 1
---
QUERY PLAN
Limit 1
  Scan t, keys a = 1, as many as the limit

EXPLAIN SELECT * FROM t WHERE b = 'x' LIMIT 1
---
QUERY PLAN
Limit 1
  Filter b = 'x'
    Scan t, all keys

EXPLAIN SELECT a FROM t ORDER BY c DESC LIMIT 3
---
QUERY PLAN
Limit 3
  Sort c descending, first rows only
    Scan t, all keys

EXPLAIN SELECT a, count(*), sum(c) FILTER (WHERE c > 1) FROM t GROUP BY a HAVING count(DISTINCT b) > 1 ORDER BY 2 DESC
---
QUERY PLAN
Sort count(*) descending
  Project a, count(*), sum(c) filter (c > 1)
    Filter count(distinct b) > 1
      Group by a: count(*), sum(c) filter (c > 1), count(distinct b)
        Scan t, all keys

EXPLAIN SELECT DISTINCT b FROM t WHERE a > 1.5
---
QUERY PLAN
Distinct
  Scan t, keys a > 1.5

EXPLAIN UPDATE t SET c = c + 1 WHERE a = 1
---
QUERY PLAN
Update t: c = c + 1
  Scan t, keys a = 1, locked

EXPLAIN UPDATE t SET a = a + 1
---
QUERY PLAN
Update t, moving rows: a = a + 1
  Scan t, all keys, locked

EXPLAIN DELETE FROM t WHERE a = 1 AND c > 2
---
QUERY PLAN
Delete from t
  Filter c > 2
    Scan t, keys a = 1, locked

EXPLAIN INSERT INTO t VALUES (1, 'x', 2), (2, 'y', 3)
---
QUERY PLAN
Insert into t
  2 rows

EXPLAIN SELECT * FROM t WHERE a = 1 FOR UPDATE
---
QUERY PLAN
Scan t, keys a = 1, locked

EXPLAIN SELECT 1 + 1
---
QUERY PLAN
Project 1 + 1
  1 row

EXPLAIN SELECT c FROM t WHERE a = 1 + 1 + 1 AND c BETWEEN 1 AND 2 AND b LIKE 'x%' AND NOT c IS NULL AND c::text || 'q' || b = 'z'
---
QUERY PLAN
Project c
  Filter (c >= 1) and (c <= 2) and (b ~~ 'x%') and (not (c is null)) and ((c::text || 'q' || b) = 'z')
    Scan t, keys a = (1 + 1) + 1

EXPLAIN ANALYZE SELECT 1
---
ERROR:  0A000: options of EXPLAIN are not supported in this release
