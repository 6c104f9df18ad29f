# Locks of rows, and where they make no sense.
CREATE TABLE t (id INT PRIMARY KEY, n INT)
---
CREATE TABLE

INSERT INTO t VALUES (1, 1), (2, 2)
---
INSERT 0 2

SELECT * FROM t WHERE id = 1 FOR UPDATE
---
id|n
1|1

SELECT * FROM t ORDER BY id FOR SHARE
---
id|n
1|1
2|2

SELECT count(*) FROM t FOR UPDATE
---
ERROR:  0A000: FOR UPDATE is not allowed with aggregate functions

SELECT DISTINCT n FROM t FOR UPDATE
---
ERROR:  0A000: FOR UPDATE is not allowed with DISTINCT clause

SELECT n FROM t GROUP BY n FOR UPDATE
---
ERROR:  0A000: FOR UPDATE is not allowed with GROUP BY clause

VALUES (1) FOR UPDATE
---
ERROR:  0A000: FOR UPDATE cannot be applied to VALUES

SELECT n FROM t ORDER BY n DESC LIMIT 1 FOR UPDATE
---
n
2
