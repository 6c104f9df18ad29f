# Operators bind as PostgreSQL has it.
SELECT 1 + 2 * 3 - 4 / 2 % 3, (1 + 2) * 3, -2 + 3, 2 ^ 3 ^ 2, - 2 ^ 2
---
?column?|?column?|?column?|?column?|?column?
5|9|1|64|4

SELECT 1 < 2 = true, NOT 1 > 2 AND true OR false
---
ERROR:  42601: syntax error at or near "="
HINT:  Comparisons do not chain; use AND, or parentheses.

SELECT 10 - 2 - 3, 100 / 10 / 5, 'a' || 1 || 'b'
---
?column?|?column?|?column?
5|2|a1b

SELECT 1 + 1 = 2 AND 2 + 2 = 5
---
?column?
f

SELECT 7 & 3 | 8, 1 << 4 >> 2, ~ 5
---
?column?|?column?|?column?
11|4|-6

SELECT 1 = 1 = true, 1 + NULL, NULL || 'x'
---
ERROR:  42601: syntax error at or near "="
HINT:  Comparisons do not chain; use AND, or parentheses.

SELECT 1 / 0
---
ERROR:  22012: division by zero

SELECT 2147483647 + 1
---
ERROR:  22003: integer out of range

SELECT 9223372036854775807 + 1
---
ERROR:  22003: bigint out of range

SELECT 'a' + 1
---
ERROR:  22P02: invalid input syntax for type integer: "a"

SELECT 1 + true
---
ERROR:  42883: operator does not exist: integer + boolean
HINT:  No operator matches the given name and argument types. You might need to add explicit type casts.

SELECT 1.0 + 1, 1::float8 + 1, 1::smallint + 1::smallint
---
?column?|?column?|?column?
2.0|2|2
