"""Every command that lists or shows answers programs too: one JSON document with `--json`."""

import json
from typing import Any

from service.db.pool import Pool
from service.settings import Settings
from tests.cli.conftest import Commands
from tests.cli.test_commands import variables_of

# The commands that list or show, with the words that they need, and the keys of what they print.
_ANSWERS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "order list": ((), {"orders", "more"}),
    "order show": (("order-1",), {"order", "payments", "notices", "history"}),
    "notices list": (("order-1",), {"notices", "total"}),
    "notices show": (("order-1",), {"notices", "total"}),
    "problems list": ((), {"problems", "total", "unregistered_payments"}),
    "keys list": (("--all",), {"keys"}),
    "endpoints list": ((), {"endpoints"}),
    "endpoints show": (("warehouse",), {"endpoint", "attempts"}),
    "sandbox list": ((), {"payments"}),
    "sandbox play": (("--list",), {"scenarios"}),
    "settings": ((), set(map(str.upper, Settings.model_fields))),
    "doctor": ((), {"parts"}),
    "status": ((), {"status", "faults", "today"}),
}


async def test_what_lists_or_shows_has_json(commands: Commands, settings: Settings, pool: Pool) -> None:
    """With --json the standard output is one document, on one line in a pipe, with the facts that a person sees."""
    environment = variables_of(settings)
    await commands.run("order", "register", "order-1", "64900")
    payment = await commands.sandbox.pay("order-1", 100)
    await commands.service.becomes("order-1", state="mismatched")
    await commands.run("endpoints", "add", "warehouse", "https://warehouse.example/", **environment)
    await commands.run("keys", "create", "shipping", "--scope", "orders:read", **environment)
    answers: dict[str, Any] = {}
    for name, (words, keys) in _ANSWERS.items():
        _, output = await commands.run_to_end(*name.split(), *words, "--json", **environment)
        [line] = [line for line in output.splitlines() if line.startswith("{")]
        answers[name] = json.loads(line)
        assert set(answers[name]) == keys, name
    assert [problem["imp_uid"] for problem in answers["problems list"]["problems"]] == [payment["imp_uid"]]
    assert answers["notices list"]["notices"][0]["imp_uid"] == payment["imp_uid"]
    assert answers["order show"]["history"][1]["state"] == "mismatched"
    assert answers["keys list"]["keys"][0]["name"] == "shipping"
    assert "secret" not in answers["endpoints show"]["endpoint"]
    assert answers["settings"]["PORTONE_IMP_SECRET"] != settings.portone_imp_secret.get_secret_value()
