# Ours: reads of the past. The test database has one version of everything.
CREATE TABLE t (id INT PRIMARY KEY)
---
CREATE TABLE

INSERT INTO t VALUES (1)
---
INSERT 0 1

SELECT * FROM t AS OF SYSTEM TIME '-10s'
---
id
1

SELECT * FROM t AS OF SYSTEM TIME '-1h30m' WHERE id = 1
---
id
1

SELECT x.id FROM t AS OF SYSTEM TIME '2026-11-25 10:00:00+01' AS x
---
id
1

SELECT x.id FROM t x AS OF SYSTEM TIME 1764065000000000000 LIMIT 1
---
id
1

SELECT * FROM t AS OF SYSTEM TIME with_max_staleness('10s')
---
id
1

SELECT * FROM t AS OF SYSTEM TIME timestamptz '2026-11-25 10:00:00+01' ORDER BY id
---
id
1

EXPLAIN SELECT * FROM t AS OF SYSTEM TIME '-10s'
---
QUERY PLAN
Scan t, all keys

SELECT * FROM t AS OF SYSTEM TIME 'yesterdayish'
---
ERROR:  22007: invalid input syntax for type timestamp with time zone: "yesterdayish"
POSITION:  35

SELECT * FROM t AS OF SYSTEM TIME '-10 parsecs'
---
ERROR:  22023: "-10 parsecs" is no time to read at
HINT:  Give an instant from 1970 on, an age such as '-10s', nanoseconds since the Unix epoch, or with_max_staleness('10s').
POSITION:  35

SELECT * FROM t AS OF SYSTEM TIME
---
ERROR:  42601: syntax error at end of input
POSITION:  34

SELECT * FROM t AS OF SYSTEM TIME '1969-01-01'
---
ERROR:  22023: "1969-01-01" is no time to read at
HINT:  Give an instant from 1970 on, an age such as '-10s', nanoseconds since the Unix epoch, or with_max_staleness('10s').
POSITION:  35

SELECT * FROM t AS OF SYSTEM TIME '-10s' FOR UPDATE
---
ERROR:  42601: AS OF SYSTEM TIME reads without locks; leave FOR UPDATE out
POSITION:  17

UPDATE t SET id = 1 AS OF SYSTEM TIME '-10s'
---
ERROR:  42601: AS OF SYSTEM TIME is a clause of SELECT only
POSITION:  21

BEGIN AS OF SYSTEM TIME '-10s'
---
ERROR:  42601: AS OF SYSTEM TIME is for read-only transactions
HINT:  Write BEGIN READ ONLY AS OF SYSTEM TIME ..
POSITION:  7

BEGIN READ ONLY AS OF SYSTEM TIME '-10s'
---
BEGIN
