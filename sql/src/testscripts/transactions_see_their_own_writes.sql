# Writes of a transaction are read by it, and gone when it rolls back.
CREATE TABLE t (id INT PRIMARY KEY)
---
CREATE TABLE

BEGIN
---
BEGIN

INSERT INTO t VALUES (1), (2)
---
INSERT 0 2

SELECT count(*) FROM t
---
count
2

DELETE FROM t WHERE id = 1
---
DELETE 1

SELECT * FROM t
---
id
2

ROLLBACK
---
ROLLBACK

SELECT count(*) FROM t
---
count
0

BEGIN
---
BEGIN

INSERT INTO t VALUES (3)
---
INSERT 0 1

COMMIT
---
COMMIT

SELECT * FROM t
---
id
3
