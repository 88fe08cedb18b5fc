-- Postgres parses a table's CHECKs again for each statement that writes it. Those stay whose breach would cost money or
-- a notice (docs/decisions/0036-keep-the-constraints-that-pay.md). One file for each table, so that none is locked while
-- another is waited for.
ALTER TABLE orders
    DROP CONSTRAINT orders_merchant_uid_check,
    DROP CONSTRAINT orders_currency_check,
    DROP CONSTRAINT orders_registered_amount_check,
    DROP CONSTRAINT orders_state_check,
    DROP CONSTRAINT orders_closed_check,
    DROP CONSTRAINT orders_version_check;
