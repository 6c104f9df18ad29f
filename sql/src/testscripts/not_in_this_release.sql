# Ours: what PostgreSQL has and this release has not, and what to do.
CREATE TABLE t (a INT)
---
ERROR:  0A000: tables without a primary key are not supported in this release
HINT:  Say which columns tell rows apart: PRIMARY KEY after a column, or PRIMARY KEY (a, b) after all of them.

CREATE TABLE t (a SERIAL PRIMARY KEY)
---
ERROR:  0A000: SERIAL types are not supported in this release
HINT:  Counting up makes one shard take all inserts. Use BIGINT with keys of the application, or BYTEA with random ones.

CREATE TABLE t (a NUMERIC PRIMARY KEY)
---
ERROR:  0A000: NUMERIC columns are not supported in this release
HINT:  Use BIGINT in the smallest unit, such as cents, or DOUBLE PRECISION.

CREATE TABLE t (a REAL PRIMARY KEY)
---
ERROR:  0A000: REAL columns and values are not supported in this release
HINT:  Use DOUBLE PRECISION.

CREATE TABLE t (a INT PRIMARY KEY, b INT UNIQUE)
---
ERROR:  0A000: UNIQUE constraints are not supported in this release
HINT:  Only the primary key is unique: make what must be unique the key of a table.

CREATE TABLE t (a INT PRIMARY KEY CHECK (a > 0))
---
ERROR:  0A000: CHECK constraints are not supported in this release
HINT:  Leave it out, and check where the value comes from.

CREATE TABLE t (a INT PRIMARY KEY, CHECK (a > 0))
---
ERROR:  0A000: CHECK constraints are not supported in this release
HINT:  Leave it out, and check where the value comes from.

CREATE TABLE t (a INT PRIMARY KEY REFERENCES u)
---
ERROR:  0A000: FOREIGN KEY constraints are not supported in this release
HINT:  Leave it out, and read the other row in the same transaction.

CREATE TABLE t (a VARCHAR(10) PRIMARY KEY)
---
ERROR:  0A000: text types with a length are not supported in this release
HINT:  Use TEXT; check the length where the value comes from.

CREATE TABLE t (a CHAR(10) PRIMARY KEY)
---
ERROR:  0A000: CHAR types are not supported in this release
HINT:  Use TEXT.

CREATE TABLE t (a JSONB PRIMARY KEY)
---
ERROR:  0A000: the type JSONB is not supported in this release
HINT:  There are BIGINT, INT, SMALLINT, DOUBLE PRECISION, TEXT, BOOLEAN, BYTEA and TIMESTAMPTZ.

CREATE TABLE t (a TIMESTAMP PRIMARY KEY)
---
ERROR:  0A000: TIMESTAMP types without a zone or with a precision are not supported in this release
HINT:  Use TIMESTAMPTZ.

CREATE TABLE t (a INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY)
---
ERROR:  0A000: generated columns are not supported in this release

CREATE TABLE t AS SELECT 1
---
ERROR:  0A000: CREATE TABLE AS statements are not supported in this release

CREATE TEMP TABLE t (a INT PRIMARY KEY)
---
ERROR:  0A000: temporary tables are not supported in this release

CREATE INDEX i ON t (a)
---
ERROR:  0A000: CREATE INDEX is not supported in this release

ALTER TABLE t ADD b INT
---
ERROR:  0A000: ALTER TABLE is not supported in this release

TRUNCATE t
---
ERROR:  0A000: TRUNCATE is not supported in this release

SELECT * FROM a, b
---
ERROR:  0A000: joins are not supported in this release

SELECT * FROM a JOIN b ON true
---
ERROR:  0A000: joins are not supported in this release

SELECT * FROM (SELECT 1) x
---
ERROR:  0A000: subqueries are not supported in this release

SELECT (SELECT 1)
---
ERROR:  0A000: subqueries are not supported in this release

SELECT 1 WHERE EXISTS (SELECT 1)
---
ERROR:  0A000: subqueries are not supported in this release

SELECT 1 IN (SELECT 1)
---
ERROR:  0A000: subqueries are not supported in this release

WITH x AS (SELECT 1) SELECT * FROM x
---
ERROR:  0A000: WITH queries are not supported in this release

SELECT 1 UNION SELECT 2
---
ERROR:  0A000: set operations (UNION) are not supported in this release

SELECT count(*) OVER ()
---
ERROR:  0A000: window functions are not supported in this release

SELECT DISTINCT ON (a) a FROM t
---
ERROR:  0A000: DISTINCT ON clauses are not supported in this release

SELECT ARRAY[1]
---
ERROR:  0A000: arrays and subscripts are not supported in this release

SELECT interval '1 day'
---
ERROR:  0A000: intervals are not supported in this release

SELECT 1 = ANY (ARRAY[1])
---
ERROR:  0A000: ANY, SOME and ALL are not supported in this release

SELECT (1, 2) = (1, 2)
---
ERROR:  0A000: row values are not supported in this release

INSERT INTO t VALUES (1) RETURNING a
---
ERROR:  0A000: RETURNING clauses are not supported in this release

INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING
---
ERROR:  0A000: ON CONFLICT clauses are not supported in this release

SELECT generate_series(1, 3)
---
ERROR:  42883: function generate_series(integer, integer) does not exist
HINT:  No function matches the given name and argument types. You might need to add explicit type casts.
POSITION:  8

SELECT string_agg('a', ',')
---
ERROR:  42883: function string_agg(unknown, unknown) does not exist
HINT:  No function matches the given name and argument types. You might need to add explicit type casts.
POSITION:  8

SELECT 'a' SIMILAR TO 'b'
---
ERROR:  0A000: regular expressions are not supported in this release

SELECT 1 FETCH FIRST 1 ROW ONLY
---
ERROR:  0A000: FETCH clauses are not supported in this release
HINT:  Use LIMIT.

SELECT 1 FROM t FOR UPDATE NOWAIT
---
ERROR:  0A000: NOWAIT and SKIP LOCKED are not supported in this release

VACUUM
---
ERROR:  0A000: VACUUM is not supported in this release

GRANT SELECT ON t TO x
---
ERROR:  0A000: GRANT is not supported in this release
