-- Giving back money that should not be there. One row a payment: what was intended, asked for, and came of it.

CREATE TABLE refunds (
    imp_uid              text PRIMARY KEY,
    merchant_uid         text NOT NULL REFERENCES orders,
    -- Only what was never sent, or was definitely refused and is wanted by a person, begins a new round.
    round                integer NOT NULL DEFAULT 1 CHECK (round > 0),
    state                text NOT NULL CHECK (state IN
                             ('intended', 'asked', 'refunded', 'refused', 'refund_unknown', 'withdrawn')),
    -- What was found, and since when the order's events have said so without a break.
    kinds                text[] NOT NULL CHECK (cardinality(kinds) > 0),
    found_at             timestamptz NOT NULL,
    who                  text NOT NULL CHECK (who <> ''),
    why                  text NOT NULL CHECK (why <> ''),
    by_person            boolean NOT NULL,
    intended_at          timestamptz NOT NULL DEFAULT now(),
    -- When a worker takes it up next; what keeps it from being sent stands beside it.
    due_at               timestamptz,
    held                 text,
    asked_at             timestamptz,
    ticket               bigint,
    amount               bigint CHECK (amount > 0),
    currency             text,
    cancellations_before integer CHECK (cancellations_before >= 0),
    answer               text CHECK (answer IN ('done', 'accepted', 'refused', 'unknown')),
    answer_text          text,
    ended_at             timestamptz,
    CHECK ((state IN ('intended', 'asked')) = (due_at IS NOT NULL)),
    CHECK ((state IN ('intended', 'asked')) = (ended_at IS NULL)),
    CHECK ((state IN ('intended', 'withdrawn')) = (asked_at IS NULL)),
    CHECK (num_nulls(asked_at, ticket, amount, currency, cancellations_before) IN (0, 5)),
    CHECK (answer IS NULL OR asked_at IS NOT NULL),
    CHECK (state <> 'refused' OR answer = 'refused')
);
CREATE INDEX refunds_due ON refunds (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX refunds_unknown ON refunds (imp_uid) WHERE state = 'refund_unknown';

-- Every move of a refund. That a round is asked for once is written here a second time, as a key.
CREATE TABLE refund_moves (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    imp_uid text NOT NULL REFERENCES refunds,
    round   integer NOT NULL,
    state   text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    who     text NOT NULL,
    why     text NOT NULL,
    UNIQUE (imp_uid, round, state)
);
CREATE INDEX refund_moves_asked ON refund_moves (at) WHERE state = 'asked';

-- A problem that a person has seen, and means to leave as it is. A finding made later is another problem.
CREATE TABLE resolutions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merchant_uid text NOT NULL,
    imp_uid      text NOT NULL,
    kind         text NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    who          text NOT NULL CHECK (who <> ''),
    why          text NOT NULL CHECK (why <> '')
);
CREATE INDEX resolutions_imp_uid ON resolutions (imp_uid, kind, at);
