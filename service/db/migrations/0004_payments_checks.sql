ALTER TABLE payments
    DROP CONSTRAINT payments_imp_uid_check,
    DROP CONSTRAINT payments_status_check,
    DROP CONSTRAINT payments_amount_check,
    DROP CONSTRAINT payments_cancelled_amount_check,
    DROP CONSTRAINT payments_cancellations_check,
    DROP CONSTRAINT payments_check;
