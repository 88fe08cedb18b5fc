-- What each row must be, where no rule of the product's tables says so: each statement that writes would pay for it
-- (docs/decisions/0036-keep-the-constraints-that-pay.md). Tests, the explorer and the fault runs refuse such rows.
ALTER TABLE orders
    ADD CHECK (char_length(merchant_uid) BETWEEN 1 AND 255),
    ADD CHECK (currency ~ '^[A-Z]{3}$'),
    ADD CHECK (registered_amount > 0),
    ADD CHECK (state IN ('pending', 'awaiting_deposit', 'paid', 'partially_cancelled', 'cancelled', 'failed',
                         'mismatched')),
    ADD CHECK (closed IN ('expired', 'withdrawn')),
    ADD CHECK (version > 0);
ALTER TABLE order_events
    ADD CHECK (cause IN ('registration', 'amendment', 'look', 'withdrawal', 'expiry', 'acceptance')),
    ADD CHECK (cause = 'look' OR num_nonnulls(notice_id, source, looked_at, ticket) = 0),
    ADD CHECK (cause <> 'acceptance' OR num_nulls(who, why) = 0);
ALTER TABLE payments
    ADD CHECK (char_length(imp_uid) BETWEEN 1 AND 64),
    ADD CHECK (status IN ('ready', 'issued', 'failed', 'paid', 'cancelled')),
    ADD CHECK (amount >= 0),
    ADD CHECK (cancelled_amount >= 0),
    ADD CHECK (cancellations >= 0),
    ADD CHECK ((lesser IS NULL) = (lesser_seen_at IS NULL) AND (lesser IS NULL) = (lesser_ticket IS NULL));
ALTER TABLE notices
    ADD CHECK (source IN ('webhook', 'completion', 'redirect', 'reconcile', 'search', 'refund', 'operator')),
    ADD CHECK (char_length(imp_uid) BETWEEN 1 AND 64),
    ADD CHECK (claimed_until IS NULL OR due_at IS NOT NULL);
ALTER TABLE last_looks ADD CHECK (slot BETWEEN 0 AND 65535);
