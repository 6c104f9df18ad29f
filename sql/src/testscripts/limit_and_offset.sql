# Bounds: expressions, NULL and ALL, and what they cannot be.
VALUES (1), (2), (3) LIMIT 2
---
column1
1
2

VALUES (1), (2), (3) OFFSET 2
---
column1
3

VALUES (1), (2), (3) LIMIT ALL
---
column1
1
2
3

VALUES (1), (2), (3) LIMIT NULL OFFSET NULL
---
column1
1
2
3

VALUES (1), (2), (3) LIMIT 1 + 1 OFFSET 1
---
column1
2
3

VALUES (1) LIMIT 0
---
column1

VALUES (1) LIMIT -1
---
ERROR:  2201W: LIMIT must not be negative

VALUES (1) OFFSET -1
---
ERROR:  2201X: OFFSET must not be negative

VALUES (1) LIMIT 'x'
---
ERROR:  22P02: invalid input syntax for type bigint: "x"

VALUES (1) LIMIT true
---
ERROR:  42804: argument of LIMIT must be type bigint, not type boolean

VALUES (1) LIMIT x
---
ERROR:  42703: column "x" does not exist
POSITION:  18

VALUES (1), (2) LIMIT '1'
---
column1
1

VALUES (1), (2) LIMIT 1.4
---
column1
1

VALUES (1), (2) OFFSET 9223372036854775807 LIMIT 9223372036854775807
---
column1
