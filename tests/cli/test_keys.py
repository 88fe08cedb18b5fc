"""`keys` makes, lists and revokes the keys with which other services call."""

from pathlib import Path

from service.db.pool import Pool
from service.settings import Settings
from tests.cli.test_commands import run, variables_of
from tests.running import RunningService, bearer, running_receiver, until

MAKE = ("keys", "create", "shipping", "--scope", "orders:read", "--scope", "metrics")


async def _made(tmp_path: Path, settings: Settings, *more: str) -> tuple[str, str]:
    """Make a key; return it and the sentence beside it."""
    code, output = await run(tmp_path, *MAKE, *more, **variables_of(settings))
    assert code == 0, output
    [key] = [line for line in output.splitlines() if line.startswith("pok_")]
    return key, output.replace(key, "")


async def _status(receiver: RunningService, key: str) -> int:
    return (await receiver.call("GET", "/metrics", headers=bearer(key)))[0]


async def test_a_key_is_made_listed_and_revoked(tmp_path: Path, settings: Settings, pool: Pool) -> None:
    """A key works from the moment it is shown until it is revoked, and is shown once: a list has its beginning."""
    async with running_receiver(settings) as receiver:
        key, sentence = await _made(tmp_path, settings, "--who", "kim")
        assert "it is not shown again" in sentence
        assert await _status(receiver, key) == 200
        _, listed = await run(tmp_path, "keys", "list", **variables_of(settings))
        [line] = [line for line in listed.splitlines() if line.startswith("pok_")]
        assert line.startswith(f"{key[:12]}\tshipping\tmetrics,orders:read\t")
        assert line.endswith("works")
        assert key not in listed
        revoke = ("keys", "revoke", key, "--why", "it leaked", "--who", "lee")
        code, revoked = await run(tmp_path, *revoke, **variables_of(settings))
        assert (code, revoked.splitlines()[-1]) == (0, f"Revoked: {key[:12]}, the key of shipping.")
        await until(lambda: _is_refused(receiver, key))
    rows = await pool.fetch("SELECT who, why, action, subject FROM operator_actions ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("kim", "for shipping", "keys.create", key[:12]),
        ("lee", "it leaked", "keys.revoke", key[:12]),
    ]
    _, listed = await run(tmp_path, "keys", "list", **variables_of(settings))
    assert "There is no key" in listed
    _, listed = await run(tmp_path, "keys", "list", "--all", **variables_of(settings))
    assert listed.splitlines()[-1].endswith("revoked")


async def test_a_key_is_revoked_by_its_name(tmp_path: Path, settings: Settings, pool: Pool) -> None:
    """A name that one working key has is enough to revoke it; of several, each is named by its beginning."""
    variables = variables_of(settings)
    first, _ = await _made(tmp_path, settings)
    second, _ = await _made(tmp_path, settings)
    code, output = await run(tmp_path, "keys", "revoke", "shipping", "--why", "x", **variables)
    assert (code, output.count("pok_")) == (1, 2)
    assert first[:12] in output
    for key, named in ((first, first[:12]), (second, "shipping")):
        code, output = await run(tmp_path, "keys", "revoke", named, "--why", "it is gone", **variables)
        assert (code, output) == (0, f"Revoked: {key[:12]}, the key of shipping.\n")
    code, output = await run(tmp_path, "keys", "revoke", "shipping", "--why", "x", **variables)
    assert (code, output) == (1, "No working key is called 'shipping': see `portone-orders keys list`.\n")
    assert await pool.fetchval("SELECT count(*) FROM operator_actions WHERE action = 'keys.revoke'") == 2


async def _is_refused(receiver: RunningService, key: str) -> bool:
    return await _status(receiver, key) == 401


async def test_mistakes_are_said_in_a_sentence(tmp_path: Path, settings: Settings) -> None:
    """A key that does not exist, a missing reason, a missing scope and an empty name are each a sentence."""
    variables = variables_of(settings)
    code, output = await run(tmp_path, "keys", "revoke", "pok_nonesuch", "--why", "x", **variables)
    assert (code, output) == (1, "No working key begins with 'pok_nonesuch': see `portone-orders keys list`.\n")
    code, output = await run(tmp_path, "keys", "revoke", "pok_nonesuch", **variables)
    assert (code, output) == (1, "Give a reason with --why: it is recorded.\n")
    assert (await run(tmp_path, "keys", "create", "shipping", **variables))[0] == 2
    assert (await run(tmp_path, "keys", "create", " ", "--scope", "admin", **variables))[0] == 1
