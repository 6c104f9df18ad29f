# An UPDATE of the key moves the row; a key that is taken is refused.
CREATE TABLE t (id INT PRIMARY KEY, v TEXT)
---
CREATE TABLE

INSERT INTO t VALUES (1, 'a'), (2, 'b'), (10, 'c')
---
INSERT 0 3

UPDATE t SET id = 5 WHERE id = 1
---
UPDATE 1

UPDATE t SET id = 10 WHERE id = 2
---
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"

UPDATE t SET id = 7
---
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"
DETAIL:  Key (id)=(7) already exists.

UPDATE t SET id = id + 1 WHERE id = 10
---
UPDATE 1

UPDATE t SET id = id + 100, v = v || id
---
UPDATE 3

SELECT * FROM t ORDER BY id
---
id|v
102|b2
105|a5
111|c11

UPDATE t SET id = id WHERE v LIKE 'a%'
---
UPDATE 1

UPDATE t SET v = DEFAULT WHERE id = 102
---
UPDATE 1

SELECT * FROM t ORDER BY id
---
id|v
102|NULL
105|a5
111|c11

UPDATE t SET v = 'x', v = 'y'
---
ERROR:  42601: multiple assignments to same column "v"

UPDATE t SET id = 'x'
---
ERROR:  22P02: invalid input syntax for type integer: "x"

UPDATE t SET id = true
---
ERROR:  42804: column "id" is of type integer but expression is of type boolean
HINT:  You will need to rewrite or cast the expression.

UPDATE t x SET v = x.v || '!' WHERE x.id = 105
---
UPDATE 1

UPDATE t SET v = count(*)
---
ERROR:  42803: aggregate functions are not allowed in UPDATE
POSITION:  18

SELECT v FROM t WHERE id = 105
---
v
a5!
