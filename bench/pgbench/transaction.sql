-- Each client walks through its own orders, in the table's order, as payments for new orders come.
\set number :first + (:turn * 32 + :client_id) % :orders
\set turn :turn + 1
BEGIN;
SELECT amount, currency, state, version FROM orders WHERE merchant_uid = 'order_' || :number::text FOR UPDATE;
UPDATE orders SET state = 'paid', paid_amount = amount, imp_uid = 'imp_' || :number::text, version = version + 1,
       updated_at = now() WHERE merchant_uid = 'order_' || :number::text;
INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, imp_uid,
                          problems, cause)
SELECT merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, imp_uid, problems, 'look'
FROM orders WHERE merchant_uid = 'order_' || :number::text;
COMMIT;
