-- A transfer in six round trips. Locks are taken in the order of ids, so that transfers never deadlock.
\set one random(1, :accounts)
\set other random(1, :accounts - 1)
\set two :other + (CASE WHEN :other >= :one THEN 1 ELSE 0 END)
\set first least(:one, :two)
\set second greatest(:one, :two)
\set amount random(1, 10)
BEGIN;
SELECT balance FROM accounts WHERE id = :first FOR UPDATE;
SELECT balance FROM accounts WHERE id = :second FOR UPDATE;
UPDATE accounts SET balance = balance - :amount WHERE id = :first;
UPDATE accounts SET balance = balance + :amount WHERE id = :second;
COMMIT;
