"""The commands with several PortOne accounts."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from cli.dev_plan import Plan
from cli.state import StateDir
from sandbox.__main__ import main
from sandbox.config import Keys, SandboxConfig
from service.account_settings import PortOneAccount
from service.db.pool import Pool
from service.domain.payment import Store
from service.settings import Settings, SettingsError
from service.settings_text import HIDDEN, setting_texts
from tests.cli.conftest import commands_of
from tests.cli.test_commands import run, variables_of
from tests.sandbox_client import RunningSandbox, running_sandbox
from tests.service.refunding import TIMES, Shop
from workers.parts import make_parts

KEYS = Keys("imp_key_b", "s3cret_b")
ONE = {"imp_key": "imp_key_b", "imp_secret": "s3cret_b"}


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox(SandboxConfig(accounts={"shop-b": KEYS})) as running:
        yield running


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"portone_accounts": {"shop-b": PortOneAccount.model_validate(ONE)}})


def _environment(settings: Settings, **account: str) -> dict[str, str]:
    return variables_of(settings) | {"PORTONE_ACCOUNTS": json.dumps({"shop-b": ONE | account})}


def test_the_accounts_are_read_from_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each account has its tiers, and PORTONE_API_URL unless it has an address of its own."""
    accounts = {"b": ONE | {"tiers": ["abc"]}, "c": ONE | {"imp_key": "c", "api_url": "https://c.example/"}}
    monkeypatch.setenv("PORTONE_ACCOUNTS", json.dumps(accounts))
    settings = Settings.load(_env_file=None, portone_api_url="https://portone.example", portone_tiers=("xyz",))
    assert settings.stores == [
        Store("default"), Store("default", "xyz"), Store("b"), Store("b", "abc"), Store("c"),
    ]  # fmt: skip
    urls = [account.api_url for account in settings.accounts.values()]
    assert urls == ["https://portone.example", "https://portone.example", "https://c.example"]


@pytest.mark.parametrize("text", ["", "{}"])
def test_without_accounts_there_is_the_default(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """An empty setting, as docker-compose passes it on, names no account."""
    monkeypatch.setenv("PORTONE_ACCOUNTS", text)
    assert Settings.load(_env_file=None).stores == [Store("default")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("s3cret_b", "PORTONE_ACCOUNTS: must be JSON, like"),
        ('["s3cret_b"]', "PORTONE_ACCOUNTS: Input should be a valid dictionary"),
        (json.dumps({"b": "s3cret_b"}), "PORTONE_ACCOUNTS.b: Input should be a valid dictionary"),
        (json.dumps({"Shop B": ONE}), "PORTONE_ACCOUNTS: each name must be 1 to 32 small letters"),
        (json.dumps({"default": ONE}), "PORTONE_ACCOUNTS: the account default is that of PORTONE_IMP_KEY"),
        (json.dumps({"b": ONE, "c": ONE}), "PORTONE_ACCOUNTS: each account must have an imp_key of its own"),
        (json.dumps({"b": ONE | {"imp_key": "a"}}), "PORTONE_ACCOUNTS: each account must have an imp_key of its own"),
        (json.dumps({"b": {"imp_secret": "s3cret_b"}}), "PORTONE_ACCOUNTS.b.imp_key: Field required"),
        (json.dumps({"b": ONE | {"imp_secret": ""}}), "PORTONE_ACCOUNTS.b.imp_secret: Value should have at least 1"),
        (json.dumps({"b": ONE | {"tiers": ["s3cret_b"]}}), "PORTONE_ACCOUNTS.b.tiers: each tier must be 3 letters"),
        (json.dumps({"b": ONE | {"api_url": "s3cret_b"}}), "PORTONE_ACCOUNTS.b.api_url: must start with http://"),
        (json.dumps({"b": ONE | {"imp_secrets": "s3cret_b"}}), "PORTONE_ACCOUNTS.b.imp_secrets: Extra inputs"),
    ],
)
def test_a_wrong_account_is_one_sentence(monkeypatch: pytest.MonkeyPatch, text: str, sentence: str) -> None:
    """A wrong account is answered in a sentence with its name and fault, and without any secret."""
    monkeypatch.setenv("PORTONE_ACCOUNTS", text)
    with pytest.raises(SettingsError) as raised:
        Settings.load(_env_file=None, portone_imp_key="a")
    assert sentence in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_settings_show_the_accounts_and_hide_their_secrets(settings: Settings) -> None:
    """Names and keys are shown, and secrets are hidden."""
    texts = setting_texts(settings)
    assert json.loads(texts["PORTONE_ACCOUNTS"]) == {"shop-b": {"imp_key": "imp_key_b", "imp_secret": HIDDEN}}
    assert "s3cret" not in repr(settings) + "".join(texts.values())


async def test_doctor_checks_the_key_of_each(tmp_path: Path, settings: Settings) -> None:
    """A refused key, or an address without a server, is reported with its account."""
    assert "PortOne: ok" in (await run(tmp_path, "doctor", **_environment(settings)))[1].splitlines()
    for wrong, sentence in (
        ({"imp_secret": "old"}, "refuses the key: correct shop-b in PORTONE_ACCOUNTS."),
        ({"api_url": "http://127.0.0.1:1"}, "or correct the api_url of shop-b in PORTONE_ACCOUNTS."),
    ):
        code, output = await run(tmp_path, "doctor", **_environment(settings, **wrong))
        assert code == 1
        [line] = [line for line in output.splitlines() if line.startswith("PortOne: ")]
        assert line.endswith(sentence)


async def test_reconcile_walks_the_ledger_of_each(
    tmp_path: Path, settings: Settings, sandbox: RunningSandbox, pool: Pool
) -> None:
    """Unannounced payments of both accounts are recorded, each with its account."""
    for account in ("default", "shop-b"):
        await sandbox.pay(f"order-{account}", 64900, account=account)
    code, output = await run(tmp_path, "reconcile", **_environment(settings))
    assert (code, output.splitlines()[-1]) == (0, "2 payments differ. They will be looked at.")
    rows = await pool.fetch("SELECT account, tier, merchant_uid FROM notices ORDER BY account")
    assert [tuple(row) for row in rows] == [("default", "", "order-default"), ("shop-b", "", "order-shop-b")]


async def test_reconcile_goes_on_where_one_is_refused(
    tmp_path: Path, settings: Settings, sandbox: RunningSandbox, pool: Pool
) -> None:
    """The differences of the other accounts are recorded, and the command names the refused account."""
    await sandbox.pay("order-1", 64900, account="shop-b")
    wrong = _environment(settings) | {"PORTONE_IMP_SECRET": "old"}
    code, output = await run(tmp_path, "reconcile", **wrong)
    assert code == 1
    assert output.splitlines()[-1].startswith("default: PortOne refused our key")
    assert await pool.fetchval("SELECT array_agg(account) FROM notices") == ["shop-b"]


async def test_a_person_refunds_a_payment_of_another_account(
    tmp_path: Path, settings: Settings, sandbox: RunningSandbox, pool: Pool
) -> None:
    """A refund under a configured account is recorded; under another account it is refused in a sentence."""
    async with make_parts(settings) as parts:
        shop = Shop(pool, sandbox, replace(parts.verifier, times=TIMES))
        imp_uid = await shop.paid_wrongly("order-1", account="shop-b")
    command = ("problems", "refund", imp_uid, "--who", "kim", "--why", "it is not ours")
    code, sentence = await run(tmp_path, *command, **variables_of(settings))
    assert (code, "PortOne account is not configured" in sentence) == (1, True)
    assert (await run(tmp_path, *command, **_environment(settings)))[0] == 0


async def test_an_order_is_registered_with_its_account(
    settings: Settings, sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`order register --account` stores the account, and the output names it unless it is the default."""
    monkeypatch.chdir(tmp_path)
    async with commands_of(settings, sandbox) as commands:
        output = await commands.run("order", "register", "order-1", "64900", "--account", "shop-b")
        assert "account     shop-b" in output
        assert "account " not in await commands.run("order", "register", "order-2", "64900")


def test_dev_lets_the_sandbox_play_every_account(tmp_path: Path, settings: Settings) -> None:
    """`dev` gives its parts keys of the sandbox: no real secret is passed on, and no secret is in a command line."""
    local = Settings(_env_file=None, portone_accounts=settings.portone_accounts)
    plan = Plan(local, StateDir(tmp_path / "state"))
    account = json.loads(plan.service_program("worker", "worker", {}).env["PORTONE_ACCOUNTS"])["shop-b"]
    sandbox = plan.sandbox()
    assert sandbox.env["SANDBOX_ACCOUNTS"] == f"shop-b:{account['imp_key']}:{account['imp_secret']}"
    assert "s3cret" not in str(account) + " ".join(sandbox.argv)
    assert SecretStr(account["imp_secret"]) != local.portone_accounts["shop-b"].imp_secret


@pytest.mark.parametrize("text", ["shop-b", "shop-b:key", ":key:secret", "default:key:secret", "shop-b:key:"])
def test_the_sandbox_refuses_half_an_account(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Half an account stops the start with a sentence."""
    with pytest.raises(SystemExit):
        main(["--account", text])
    assert "an account is NAME:KEY:SECRET" in capsys.readouterr().err
