# Values of all types go in and come out.
CREATE TABLE t (a SMALLINT, b INT, c BIGINT, d DOUBLE PRECISION, e TEXT, f BOOLEAN, g BYTEA, h TIMESTAMPTZ, i VARCHAR, j float8, PRIMARY KEY (c))
---
CREATE TABLE

INSERT INTO t VALUES (-32768, -2147483648, -9223372036854775808, '-Infinity', '', false, '\x', '-infinity', 'v', 1e300)
---
INSERT 0 1

INSERT INTO t VALUES (32767, 2147483647, 9223372036854775807, 'NaN', 'ü', true, '\xDEADBEEF', 'infinity', 'w', 0.1)
---
INSERT 0 1

INSERT INTO t (c, h) VALUES (0, '2026-11-25 12:34:56.789+01')
---
INSERT 0 1

SELECT * FROM t ORDER BY c
---
a|b|c|d|e|f|g|h|i|j
-32768|-2147483648|-9223372036854775808|-Infinity||f|\x|-infinity|v|1e+300
NULL|NULL|0|NULL|NULL|NULL|NULL|2026-11-25 11:34:56.789+00|NULL|NULL
32767|2147483647|9223372036854775807|NaN|ü|t|\xdeadbeef|infinity|w|0.1

SELECT a, b, c, d, e, f, g, h FROM t \gdesc
---
Column|Type
a|smallint
b|integer
c|bigint
d|double precision
e|text
f|boolean
g|bytea
h|timestamp with time zone

SELECT a + b, b + c, a * d, d / 2 FROM t WHERE c = 0
---
?column?|?column?|?column?|?column?
NULL|NULL|NULL|NULL

SELECT c FROM t WHERE h > '2000-01-01' ORDER BY h
---
c
0
9223372036854775807

SELECT c FROM t ORDER BY d
---
c
-9223372036854775808
9223372036854775807
0

SELECT c FROM t WHERE f
---
c
9223372036854775807

SELECT c FROM t WHERE NOT f
---
c
-9223372036854775808

SELECT e FROM t WHERE g = '\xdeadbeef'
---
e
ü
