# VALUES as a statement.
VALUES (1, 'a'), (2, 'b')
---
column1|column2
1|a
2|b

VALUES (1, NULL), (2.5, 'x') ORDER BY 1 DESC
---
column1|column2
2.5|x
1|NULL

VALUES (1), (2, 3)
---
ERROR:  42601: VALUES lists must all be the same length

VALUES (1), ('x')
---
ERROR:  22P02: invalid input syntax for type integer: "x"

VALUES (1), (true)
---
ERROR:  42804: VALUES types integer and boolean cannot be matched

VALUES ('2'), (1) ORDER BY column1
---
column1
1
2

VALUES (DEFAULT)
---
ERROR:  42601: DEFAULT is not allowed in this context
POSITION:  9

VALUES (1, 2.5, 'x', NULL) \gdesc
---
Column|Type
column1|integer
column2|numeric
column3|text
column4|text

VALUES (count(*))
---
ERROR:  42803: aggregate functions are not allowed in VALUES
POSITION:  9

(VALUES (1))
---
column1
1

VALUES (a)
---
ERROR:  42703: column "a" does not exist
POSITION:  9
