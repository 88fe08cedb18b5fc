"""Rows that lie there already when an attack begins, made by SQL: of one payment, parked, and due.

They are those of an attack that went on for a month: handled notices of one payment, invented ones that were parked
(half of them of a registered order), and invented ones that are due.
"""

OWN_ORDER, OWN_PAYMENT = "own", "imp_own"


def statements(one_payment: int, parked: int, due: int) -> str:
    """Return the statements that make this many rows of each kind."""
    return f"""
        INSERT INTO orders (merchant_uid, amount, currency, expires_at, state)
        VALUES ('{OWN_ORDER}', 1000, 'KRW', now() + interval '30 days', 'pending');
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                                  problems, cause)
        VALUES ('{OWN_ORDER}', 1, 'pending', 1000, 'KRW', 0, 0, '[]', 'registration');
        INSERT INTO notices (id, source, imp_uid, merchant_uid, claimed_status, registered, received_at, handled_at,
                             last_outcome)
        SELECT gen_random_uuid(), 'webhook', '{OWN_PAYMENT}', '{OWN_ORDER}', 'paid', true, now() - interval '1 day',
               now() - interval '1 day', 'looked'
        FROM generate_series(1, {one_payment});
        INSERT INTO notices (id, source, imp_uid, merchant_uid, claimed_status, registered, received_at, parked_at,
                             last_outcome)
        SELECT gen_random_uuid(), 'webhook', 'imp_parked_' || n, '{OWN_ORDER}', 'paid', n % 2 = 0,
               now() - interval '1 day', now() - interval '1 day', 'payment_unknown'
        FROM generate_series(1, {parked}) AS n;
        INSERT INTO notices (id, source, imp_uid, merchant_uid, claimed_status, registered, crowded, received_at,
                             due_at, tries, last_outcome)
        SELECT gen_random_uuid(), 'webhook', 'imp_due_' || n, CASE n % 2 WHEN 0 THEN '{OWN_ORDER}' END, 'paid',
               n % 2 = 0, n % 2 = 0, now() - interval '1 minute', now() - interval '1 minute', 3, 'payment_unknown'
        FROM generate_series(1, {due}) AS n;
    """  # noqa: S608 - numbers and names of our own
