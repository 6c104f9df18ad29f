# CASE, COALESCE, NULLIF, GREATEST, LEAST look for one type.
SELECT CASE 1 WHEN 1 THEN 'one' WHEN 2 THEN 'two' ELSE 'many' END, CASE NULL WHEN NULL THEN 1 ELSE 2 END
---
case|case
one|2

SELECT CASE WHEN false THEN 1 / 0 ELSE 3 END
---
case
3

SELECT CASE WHEN true THEN 1 ELSE 2.5 END \gdesc
---
Column|Type
case|numeric

SELECT CASE WHEN true THEN 1 ELSE 'x' END
---
ERROR:  22P02: invalid input syntax for type integer: "x"

SELECT CASE WHEN true THEN 1 ELSE true END
---
ERROR:  42804: CASE types boolean and integer cannot be matched

SELECT coalesce(NULL, NULL), coalesce(1, 2.5), coalesce(NULL, 'x')
---
coalesce|coalesce|coalesce
NULL|1|x

SELECT coalesce()
---
ERROR:  42601: syntax error in coalesce()
POSITION:  8

SELECT nullif(1, 2), nullif('a', 'a'), nullif(1, 1.0), nullif(NULL, 1)
---
nullif|nullif|nullif|nullif
1|NULL|NULL|NULL

SELECT greatest(1, 2.5), least('b', 'a'), greatest(NULL, NULL)
---
greatest|least|greatest
2.5|a|NULL

SELECT nullif(1)
---
ERROR:  42601: syntax error in nullif()
POSITION:  8

SELECT CASE 1 WHEN 1.0 THEN 'eq' END, CASE 'a' WHEN 'b' THEN 1 END
---
case|case
eq|NULL

SELECT greatest(1, 'x')
---
ERROR:  22P02: invalid input syntax for type integer: "x"

SELECT coalesce(1, true)
---
ERROR:  42804: COALESCE types integer and boolean cannot be matched
