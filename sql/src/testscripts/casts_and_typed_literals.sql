# Casts of all spellings.
SELECT '12'::int, CAST('1.5' AS float8), int '7', timestamptz '2026-11-25 10:00:00+02', '\x00ff'::bytea, 'true'::boolean, bool 'f'
---
int4|float8|int4|timestamptz|bytea|bool|bool
12|1.5|7|2026-11-25 08:00:00+00|\x00ff|t|f

SELECT 'x'::int
---
ERROR:  22P02: invalid input syntax for type integer: "x"

SELECT 70000::smallint
---
ERROR:  22003: smallint out of range

SELECT 1.5::int, 2.5::int, -1.5::int, 2.5::float8::int
---
int4|int4|?column?|int4
2|3|-2|2

SELECT true::text, 1::text || 'x', 12::bigint::int
---
text|?column?|int4
true|1x|12

SELECT 1::varchar, '5'::int8 + 1
---
varchar|?column?
1|6

SELECT true::timestamptz
---
ERROR:  42846: cannot cast type boolean to timestamp with time zone

SELECT 1::nosuchtype
---
ERROR:  42704: type "nosuchtype" does not exist

SELECT NULL::int, 'x'::text::text
---
int4|text
NULL|x

SELECT '2026-11-25'::timestamptz < '2026-11-26'
---
?column?
t

SELECT 1::boolean, 0::boolean, true::int
---
bool|bool|int4
t|f|1
