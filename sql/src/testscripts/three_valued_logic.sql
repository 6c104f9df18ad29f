# NULL is neither true nor false.
SELECT NULL AND false, NULL AND true, NULL OR true, NULL OR false, NOT NULL::bool
---
?column?|?column?|?column?|?column?|?column?
f|NULL|t|NULL|NULL

SELECT NULL IS NULL, 1 IS NULL, NULL IS NOT NULL, (NULL::bool) IS TRUE, (NULL::bool) IS NOT TRUE, true IS FALSE, (NULL::bool) IS UNKNOWN, true IS NOT UNKNOWN
---
?column?|?column?|?column?|?column?|?column?|?column?|?column?|?column?
t|f|f|f|t|f|t|t

SELECT 1 IN (1, NULL), 2 IN (1, NULL), 2 NOT IN (1, NULL), NULL IN (1), 1 NOT IN (2, 3)
---
?column?|?column?|?column?|?column?|?column?
t|NULL|NULL|NULL|t

SELECT NULL = NULL, NULL IS DISTINCT FROM NULL, 1 IS DISTINCT FROM NULL, 1 IS NOT DISTINCT FROM 1
---
?column?|?column?|?column?|?column?
NULL|f|t|t

SELECT 2 BETWEEN 1 AND 3, 2 BETWEEN 3 AND 1, 2 BETWEEN SYMMETRIC 3 AND 1, 2 NOT BETWEEN 1 AND 3, 2 BETWEEN NULL AND 1, 2 BETWEEN 1 + 0 AND 1 + 2 AND true
---
?column?|?column?|?column?|?column?|?column?|?column?
t|f|t|f|f|t

SELECT 1 WHERE 1
---
ERROR:  42804: argument of WHERE must be type boolean, not type integer
POSITION:  16

SELECT true AND 1
---
ERROR:  42804: argument of AND must be type boolean, not type integer
POSITION:  17

SELECT NOT 'x'
---
ERROR:  22P02: invalid input syntax for type boolean: "x"

SELECT 1 IS TRUE
---
ERROR:  42804: argument of IS TRUE must be type boolean, not type integer
POSITION:  8

SELECT 'yes' AND true
---
?column?
t
