# Text is ordered by its bytes.
CREATE TABLE t (s TEXT, b BYTEA, PRIMARY KEY (s, b))
---
CREATE TABLE

INSERT INTO t VALUES ('b', '\x01'), ('B', '\x02'), ('a', '\x0102'), ('a', '\x01'), ('ä', '\xff'), ('', '\x')
---
INSERT 0 6

SELECT b, s FROM t ORDER BY s, b
---
b|s
\x|
\x02|B
\x01|a
\x0102|a
\x01|b
\xff|ä

SELECT b FROM t WHERE s = 'a' ORDER BY b
---
b
\x01
\x0102

SELECT s FROM t WHERE s > 'a' ORDER BY s
---
s
b
ä

SELECT s FROM t WHERE s = 'a' AND b = '\x0102'
---
s
a

SELECT '<' || s || '>' AS s FROM t WHERE s >= '' AND s < 'b' ORDER BY t.s, b
---
s
<>
<B>
<a>
<a>

SELECT s FROM t WHERE s LIKE 'a%' ORDER BY b
---
s
a
a
