"""Every command reads an amount in the same way, and refuses what could mean two."""

import pytest

from cli.amounts import read_amount
from cli.errors import CommandFailed
from tests.cli.conftest import Commands


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("64900", "KRW", 64_900),
        ("6.00", "USD", 600),
        ("0.01", "USD", 1),
        ("600.00", "USD", 60_000),
        ("6.000", "KWD", 6_000),
        ("1000", "JPY", 1_000),
        (str(2**63 - 1), "KRW", 2**63 - 1),
    ],
)
def test_an_amount_with_all_its_decimals_is_exact(text: str, currency: str, minor: int) -> None:
    """An amount is read as people write it, into the currency's smallest unit."""
    assert read_amount(text, currency) == minor


@pytest.mark.parametrize(
    ("text", "currency", "sentence"),
    [
        ("600", "USD", "ambiguous, because USD has 2 decimals: write it like 6.00"),
        ("6", "USD", "ambiguous"),
        ("6.0", "USD", "ambiguous"),
        ("6.000", "USD", "ambiguous"),
        ("64.900", "KRW", "ambiguous, because KRW has no decimals: write it like 64900"),
        ("64900.00", "KRW", "ambiguous"),
        ("6.00", "KWD", "ambiguous, because KWD has 3 decimals: write it like 6.000"),
        ("64,900", "KRW", "write only digits, like 64900"),
        ("6,00", "USD", "write only digits and a point, like 6.00"),
        ("1e3", "KRW", "is not an amount"),
        ("6.", "USD", "is not an amount"),
        (".50", "USD", "is not an amount"),
        ("-5", "KRW", "is not an amount"),
        ("６４９００", "KRW", "is not an amount"),
        ("₩64900", "KRW", "is not an amount"),
        ("", "KRW", "is not an amount"),
        ("0", "KRW", "more than 0"),
        ("0.00", "USD", "more than 0"),
        (str(2**63), "KRW", "is too much"),
        ("6.00", "usd", "is not a currency"),
        ("6.00", "XXX", "is not a currency"),
    ],
)
def test_what_is_ambiguous_is_refused(text: str, currency: str, sentence: str) -> None:
    """An amount that could be read in two ways, or not at all, is refused in a sentence that shows how to write it."""
    with pytest.raises(CommandFailed, match=sentence) as refused:
        read_amount(text, currency)
    assert "\n" not in str(refused.value)


async def test_every_command_means_the_same_amount(commands: Commands) -> None:
    """6.00 USD is $6.00 where an order is registered, and where it is paid and refunded at the sandbox."""
    output = await commands.run("order", "register", "order-1", "6.00", "--currency", "USD")
    assert "amount      6.00 USD" in output
    assert "6.00 USD" in await commands.run("sandbox", "pay", "order-1", "6.00", "--currency", "USD")
    await commands.service.becomes("order-1", state="paid", paid_amount=600)
    await commands.run("sandbox", "refund", "order-1", "1.50")
    await commands.service.becomes("order-1", state="partially_cancelled", cancelled_amount=150)


@pytest.mark.parametrize(
    "words",
    [
        ("order", "register", "order-1", "6", "--currency", "USD"),
        ("sandbox", "open", "order-1", "6", "--currency", "USD"),
        ("sandbox", "pay", "order-1", "6", "--currency", "USD"),
        ("sandbox", "fail", "order-1", "6.0", "--currency", "USD"),
        ("sandbox", "issue", "order-1", "64.900"),
    ],
)
async def test_every_command_refuses_an_ambiguous_amount(commands: Commands, words: tuple[str, ...]) -> None:
    """A command with an ambiguous amount ends in a sentence, and nothing is registered or paid."""
    with pytest.raises(CommandFailed, match="ambiguous"):
        await commands.run(*words)
    assert await commands.run("sandbox", "list") == "There are no payments.\n"


async def test_a_refund_is_read_in_the_payments_currency(commands: Commands) -> None:
    """`sandbox refund` knows the payment's currency, and refuses an amount that is ambiguous in it."""
    await commands.run("sandbox", "pay", "order-1", "6.00", "--currency", "USD")
    with pytest.raises(CommandFailed, match="USD has 2 decimals"):
        await commands.run("sandbox", "refund", "order-1", "150")
    assert "refunded" not in await commands.run("sandbox", "list", "order-1")
