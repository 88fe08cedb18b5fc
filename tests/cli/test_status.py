"""`status` says on one screen whether all is well and, if not, how bad it is and what to do first."""

import json

from service.db.pool import Pool
from service.settings import Settings
from tests.cli.conftest import Commands
from tests.cli.test_commands import variables_of
from tests.running import until

_PROBLEM = """
    INSERT INTO orders (merchant_uid, amount, currency, expires_at, state, problems)
    VALUES ('order-1', 1, 'KRW', now() + interval '1 day', 'pending', '[{"kind": "wrong_amount", "imp_uid": "imp_1"}]')
"""


async def test_the_exit_code_says_how_bad_it_is(commands: Commands, settings: Settings, pool: Pool) -> None:
    """All is well: 0. Something needs a person: 1. Payments are held up: 2, and that fault comes first."""
    variables = variables_of(settings)
    await until(
        lambda: pool.fetchval("SELECT count(*) = 2 FROM processes WHERE kind = 'receiver' OR worked_at < now()")
    )
    code, output = await commands.run_to_end("status", **variables)
    assert (code, output.splitlines()[0]) == (0, "All is well.")
    assert "  waiting    0 notices, none is due\n" in output

    await pool.execute(_PROBLEM)
    code, output = await commands.run_to_end("status", **variables)
    assert (code, output.splitlines()[:2]) == (
        1,
        [
            "Payments go on, but something needs a person:",
            "  Problems: 1 problem needs a person: see `portone-orders problems list`.",
        ],
    )
    assert "  problems   1: see `portone-orders problems list`\n" in output

    code, output = await commands.run_to_end("status", "--json", **variables | {"PORTONE_IMP_SECRET": "wrong"})
    answer = json.loads(output)
    assert (code, answer["status"]) == (2, "payments are held up")
    assert [fault.partition(":")[0] for fault in answer["faults"]] == ["PortOne", "Problems"]
    assert answer["today"]["measure"]["open_problems"] == 1


async def test_without_settings_or_postgres_it_says_so(commands: Commands) -> None:
    """Wrong settings, or a Postgres that is away, are the answer: there are no figures then, and the exit code is 2."""
    code, output = await commands.run_to_end("status", PORT="many")
    assert code == 2
    assert output.startswith("Payments are held up:\n  Settings: Correct these settings")
    code, output = await commands.run_to_end("doctor", "--json", DATABASE_URL="postgresql://shop@127.0.0.1:1/orders")
    parts = {part["part"]: part for part in json.loads(output)["parts"]}
    assert code == 1
    assert "nothing listens at this address" in parts["Postgres"]["faults"][0]
    assert parts["Workers"]["not_checked"] == "because of Postgres"
