# Expressions alone, and the names of their columns.
SELECT 1, 1 + 1 AS two, 'x', NULL, true, 1.5
---
?column?|two|?column?|?column?|?column?|?column?
1|2|x|NULL|t|1.5

SELECT upper('x'), 'a'::text, CAST(1 AS bigint), length('abc')::int, CASE WHEN true THEN 1 END, coalesce(NULL, 2), nullif(1, 1), greatest(1, 3, 2), least(2, NULL, 1)
---
upper|text|int8|length|case|coalesce|nullif|greatest|least
X|a|1|3|1|2|NULL|3|1

SELECT -1, - 9223372036854775808, 2147483648, 99999999999999999999
---
?column?|?column?|?column?|?column?
-1|-9223372036854775808|2147483648|99999999999999999999

SELECT 1 WHERE false
---
?column?

SELECT 1 WHERE NULL
---
?column?

SELECT 'a' || 'b' AS "Quoted Name"
---
Quoted Name
ab

SELECT *
---
ERROR:  42601: SELECT * with no tables specified is not valid

SELECT 1 AS a, 2 AS a
---
a|a
1|2

SELECT 1 + 1, 'a', 2147483648, 1.5, NULL \gdesc
---
Column|Type
?column?|integer
?column?|text
?column?|bigint
?column?|numeric
?column?|text

SELECT now(), current_timestamp, count(*), sum(1), avg(1), min('x') \gdesc
---
Column|Type
now|timestamp with time zone
current_timestamp|timestamp with time zone
count|bigint
sum|bigint
avg|numeric
min|text

SELECT $1
---
ERROR:  42P02: there is no parameter $1
