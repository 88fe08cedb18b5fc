-- The order change that every alternative and pgbench make: compare and write in one statement, one round trip.
-- $1 merchant_uid, $2 amount, $3 currency, $4 imp_uid
WITH changed AS (
    UPDATE orders SET state = 'paid', paid_amount = amount, imp_uid = $4, version = version + 1, updated_at = now()
    WHERE merchant_uid = $1 AND amount = $2 AND currency = $3 AND state = 'pending'
    RETURNING *
)
INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, imp_uid,
                          problems, cause)
SELECT merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, imp_uid, problems, 'look'
FROM changed
