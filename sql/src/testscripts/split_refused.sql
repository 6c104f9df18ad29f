# Ours: splits that make no sense.
CREATE TABLE t (a TEXT PRIMARY KEY) SPLIT INTO 4 SHARDS FROM (0) TO (100)
---
ERROR:  42P16: SPLIT INTO needs an integer as first key column
HINT:  Use SPLIT AT VALUES (..), (..).

CREATE TABLE t (a INT PRIMARY KEY) SPLIT INTO 4 SHARDS FROM (0) TO (3)
---
ERROR:  42P16: SPLIT INTO has fewer numbers from FROM to TO than shards

CREATE TABLE t (a INT PRIMARY KEY) SPLIT INTO 0 SHARDS FROM (0) TO (3)
---
ERROR:  42P16: a table cannot begin with 0 shards

CREATE TABLE t (a INT PRIMARY KEY) SPLIT INTO 1000000000000 SHARDS FROM (0) TO (1000000000000000)
---
ERROR:  42P16: a table cannot begin with 1000000000000 shards

CREATE TABLE t (a INT PRIMARY KEY) SPLIT AT VALUES (1, 2)
---
ERROR:  42P16: SPLIT AT has 2 values; the key has 1

CREATE TABLE t (a INT PRIMARY KEY) SPLIT AT VALUES ('x')
---
ERROR:  22P02: invalid input syntax for type integer: "x"

CREATE TABLE t (a INT PRIMARY KEY) SPLIT AT VALUES (NULL)
---
ERROR:  42P16: SPLIT AT has a NULL

CREATE TABLE t (a INT PRIMARY KEY) SPLIT AT VALUES (true)
---
ERROR:  42804: SPLIT has a value of type boolean for one of integer

CREATE TABLE t (a INT PRIMARY KEY) SPLIT AT (1)
---
ERROR:  42601: syntax error at or near "("
POSITION:  45

CREATE TABLE t (a INT PRIMARY KEY) SPLIT AT VALUES ()
---
ERROR:  42601: syntax error at or near ")"
POSITION:  53

CREATE TABLE t (a INT PRIMARY KEY) SPLIT AT VALUES (1) trailing
---
ERROR:  42601: syntax error at or near "trailing"
POSITION:  56

CREATE TABLE t (a INT PRIMARY KEY) SPLIT INTO 2 SHARDS FROM (1)
---
ERROR:  42601: syntax error at end of input
POSITION:  64

CREATE TABLE t (a INT PRIMARY KEY) SPLIT AT VALUES (b)
---
ERROR:  42703: column "b" does not exist
POSITION:  53
