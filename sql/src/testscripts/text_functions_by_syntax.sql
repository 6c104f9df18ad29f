# Functions with a syntax of their own.
SELECT substring('abcdef' FROM 2 FOR 3), substring('abcdef' FROM 4), substring('abcdef', 2, 2), substring('abcdef' FOR 2)
---
substring|substring|substring|substring
bcd|def|bc|ab

SELECT trim('  x '), trim(both 'x' from 'xaxx'), trim(leading from '  y'), trim(trailing 'z' from 'yzz'), ltrim('  a')
---
btrim|btrim|ltrim|rtrim|ltrim
x|a|y|y|a

SELECT position('c' IN 'abc'), overlay('abcdef' placing 'X' from 2 for 3)
---
position|overlay
3|aXef

SELECT extract(year FROM timestamptz '2026-11-25 10:11:12+00'), extract(epoch FROM timestamptz '1970-01-01 00:01:00+00')
---
extract|extract
2026|60.000000

SELECT ceil(1.2), floor(1.8), ceiling(-1.5)
---
ceil|floor|ceiling
2|1|-1

SELECT 'abc' LIKE 'a%', 'abc' NOT LIKE '_b_', 'ABC' ILIKE 'a_c', 'a%b' LIKE 'a\%b', 'a%b' LIKE 'ax%b' ESCAPE 'x', 'x' LIKE NULL
---
?column?|?column?|?column?|?column?|?column?|?column?
t|f|t|t|t|NULL

SELECT 'abc' LIKE 'abc\'
---
?column?
f

SELECT nosuch(1)
---
ERROR:  42883: function nosuch(integer) does not exist
HINT:  No function matches the given name and argument types. You might need to add explicit type casts.
POSITION:  8

SELECT upper()
---
ERROR:  42883: function upper() does not exist
HINT:  No function matches the given name and argument types. You might need to add explicit type casts.
POSITION:  8

SELECT upper(1)
---
ERROR:  42883: function upper(integer) does not exist
HINT:  No function matches the given name and argument types. You might need to add explicit type casts.
POSITION:  8

SELECT length(DISTINCT 'x')
---
ERROR:  42809: DISTINCT specified, but length is not an aggregate function
POSITION:  8

SELECT upper(*)
---
ERROR:  42883: function upper() does not exist
HINT:  No function matches the given name and argument types. You might need to add explicit type casts.
POSITION:  8

SELECT pg_catalog.upper('q')
---
upper
Q

SELECT nosuch.upper('q')
---
ERROR:  3F000: schema "nosuch" does not exist
HINT:  All tables are in the schema public.
POSITION:  8

SELECT 'it''s', E'a\nb', $$dollar$$, $x$q$x$, 'a'
'b'
---
?column?|?column?|?column?|?column?|?column?
it's|a
b|dollar|q|ab
