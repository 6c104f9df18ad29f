# Texts that do not parse, and where.
SELEC 1
---
ERROR:  42601: syntax error at or near "SELEC"
POSITION:  1

SELECT 1 FRO t
---
ERROR:  42601: syntax error at or near "t"
POSITION:  14

SELECT (1
---
ERROR:  42601: syntax error at end of input
POSITION:  10

SELECT 1)
---
ERROR:  42601: syntax error at or near ")"
POSITION:  9

SELECT 'abc
---
ERROR:  42601: unterminated quoted string at or near "'abc"
POSITION:  8

SELECT "abc
---
ERROR:  42601: unterminated quoted identifier at or near ""abc"
POSITION:  8

SELECT 1 1
---
ERROR:  42601: syntax error at or near "1"
POSITION:  10

SELECT * FROM
---
ERROR:  42601: syntax error at end of input
POSITION:  14

INSERT INTO
---
ERROR:  42601: syntax error at end of input
POSITION:  12

UPDATE t
---
ERROR:  42601: syntax error at end of input
POSITION:  9

SELECT a b c
---
ERROR:  42601: syntax error at or near "c"
POSITION:  12

SELECT 1 +
---
ERROR:  42601: syntax error at end of input
POSITION:  11

SELECT $abc
---
ERROR:  42601: syntax error at or near "$abc"
POSITION:  8

SELECT ,1
---
ERROR:  42601: syntax error at or near ","
POSITION:  8

CREATE TABLE
---
ERROR:  42601: syntax error at end of input
POSITION:  13

DROP
---
ERROR:  42601: syntax error at end of input
POSITION:  5

SELECT 1 /* open
---
ERROR:  42601: unterminated /* comment at or near ""
POSITION:  17

SELECT CASE END
---
ERROR:  42601: syntax error at or near "END"
POSITION:  13

SELECT a FROM t WHERE
---
ERROR:  42601: syntax error at end of input
POSITION:  22

SELECT 1 LIMIT 1 LIMIT 2
---
ERROR:  42601: syntax error at or near "LIMIT"
POSITION:  18

BEGIN foo
---
ERROR:  42601: syntax error at or near "foo"
POSITION:  7

COMMIT AND
---
ERROR:  42601: syntax error at end of input
POSITION:  11

SET x
---
ERROR:  42601: syntax error at end of input
POSITION:  6

SHOW
---
ERROR:  42601: syntax error at end of input
POSITION:  5

SELECT 1 AS FROM t
---
ERROR:  42601: syntax error at or near "t"
POSITION:  18
