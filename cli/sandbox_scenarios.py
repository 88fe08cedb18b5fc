"""The scenarios: each plays one life of a payment against the running service.

A scenario is a function of a stage. `sandbox play --list` prints its name and its docstring.
"""

from collections.abc import Awaitable, Callable

from cli.addresses import Addresses
from cli.calls import sandbox_at, service_at
from cli.sandbox_calls import Control, Encoding, Webhook
from cli.sandbox_stage import AMOUNT, Stage
from service.settings import Settings

NEVER = Webhook(Encoding.NEVER)
# A ledger scan runs every 60 s: time for two, and a margin.
_RECONCILED_WITHIN_SECONDS = 150.0


async def paid(stage: Stage) -> None:
    """A card payment and its webhook: paid."""
    await stage.register()
    await stage.pay()
    await stage.reads(state="paid", paid_amount=AMOUNT)


async def tampered_amount(stage: Stage) -> None:
    """The buyer's browser asks PortOne for 100 won instead of 64,900: mismatched, never paid."""
    await stage.register()
    await stage.pay(amount="100")
    await stage.reads(state="mismatched", problems=["wrong_amount"], paid_amount=0)


async def tampered_currency(stage: Stage) -> None:
    """A payment of the same number in another currency: mismatched, never paid."""
    await stage.register()
    await stage.pay(amount="649.00", currency="USD")
    await stage.reads(state="mismatched", problems=["wrong_currency"], paid_amount=0)


async def test_channel(stage: Stage) -> None:
    """A payment on PortOne's test channel, where no money moves: still pending, and a problem."""
    await stage.register()
    await stage.pay(sandbox=True)
    await stage.reads(state="pending", problems=["test_channel"])


async def virtual_account(stage: Stage) -> None:
    """A virtual account is issued, and the deposit comes later: awaiting_deposit, then paid."""
    await stage.register()
    imp_uid = await stage.open()
    await stage.move(imp_uid, "issue")
    await stage.reads(state="awaiting_deposit", paid_amount=0)
    await stage.move(imp_uid, "deposit")
    await stage.reads(state="paid", paid_amount=AMOUNT)


async def expired_account(stage: Stage) -> None:
    """A virtual account's due time passes; PortOne says nothing and leaves it ready: still awaiting_deposit."""
    await stage.register()
    imp_uid = await stage.open()
    await stage.move(imp_uid, "issue")
    await stage.reads(state="awaiting_deposit")
    await stage.move(imp_uid, "expire")
    await stage.complete(imp_uid)  # a notice, so that PortOne is asked again
    await stage.reads(state="awaiting_deposit", paid_amount=0)


async def late_deposit(stage: Stage) -> None:
    """Money is sent to a virtual account that the console has closed: still cancelled, as at PortOne."""
    await stage.register()
    imp_uid = await stage.open()
    await stage.move(imp_uid, "issue")
    await stage.move(imp_uid, "cancel", reason="The shop closed it")
    await stage.reads(state="cancelled")
    await stage.move(imp_uid, "deposit")
    await stage.complete(imp_uid)
    await stage.reads(state="cancelled", paid_amount=0, cancelled_amount=0)


async def partial_refunds(stage: Stage) -> None:
    """Two partial refunds from the console, after which PortOne says cancelled: partially_cancelled."""
    await stage.register()
    imp_uid = await stage.pay()
    await stage.move(imp_uid, "cancel", amount="10000", reason="One pair was torn")
    await stage.move(imp_uid, "cancel", amount="5000", reason="And came late")
    await stage.reads(state="partially_cancelled", paid_amount=AMOUNT, cancelled_amount=15_000)


async def full_refund(stage: Stage) -> None:
    """All the money is refunded from the console: cancelled."""
    await stage.register()
    imp_uid = await stage.pay()
    await stage.move(imp_uid, "cancel", reason="The buyer changed their mind")
    await stage.reads(state="cancelled", paid_amount=AMOUNT, cancelled_amount=AMOUNT)


async def failed_then_paid(stage: Stage) -> None:
    """PayPal calls a payment failed and takes the money later: failed, then paid."""
    await stage.register()
    imp_uid = await stage.open(pay_method="paypal")
    await stage.move(imp_uid, "fail")
    await stage.complete(imp_uid)
    await stage.reads(state="failed")
    await stage.move(imp_uid, "pay")
    await stage.reads(state="paid", paid_amount=AMOUNT)


async def two_windows(stage: Stage) -> None:
    """Two windows of one order are left open and both are paid: paid by the first, the other is a duplicate."""
    await stage.register()
    first, second = await stage.open(), await stage.open()
    await stage.move(first, "pay")
    await stage.move(second, "pay")
    await stage.reads(state="paid", problems=["duplicate_payment"], paid_amount=AMOUNT)


async def replayed_payment(stage: Stage) -> None:
    """A browser names a real payment of equal price for another order: refused, and that order stays pending."""
    await stage.register()
    imp_uid = await stage.pay()
    await stage.reads(state="paid")
    await stage.register_another()
    await stage.complete(imp_uid)
    await stage.reads(state="pending", paid_amount=0)


async def console_test(stage: Stage) -> None:
    """The test button of PortOne's console, whose payment does not exist: answered 200, and no order is touched."""
    await stage.press_test_button()


async def webhook_five_times(stage: Stage) -> None:
    """One webhook is sent five times, as JSON and as form at once: paid, in one version step."""
    await stage.register()
    await stage.pay(Webhook(Encoding.BOTH, times=5))
    await stage.reads(state="paid", version=2)


async def webhook_never(stage: Stage) -> None:
    """A payment is made and no webhook ever comes: paid, from PortOne's own list, in about two minutes."""
    await stage.register()
    await stage.pay(NEVER)
    stage.say("No webhook, no browser: waiting for reconciliation, which walks PortOne's list every minute")
    await stage.reads(_RECONCILED_WITHIN_SECONDS, state="paid", paid_amount=AMOUNT)


async def paid_before_registered(stage: Stage) -> None:
    """The payment is made before the shop has registered its order: paid."""
    await stage.pay()
    await stage.register()
    await stage.reads(state="paid", paid_amount=AMOUNT)


async def tier(stage: Stage) -> None:
    """An order of a sub-store, paid under its tier and announced to its own address: paid."""
    await stage.register(tier=stage.tier)
    await stage.pay(tier=stage.tier)
    await stage.reads(state="paid", paid_amount=AMOUNT)


Scenario = Callable[[Stage], Awaitable[None]]

_ALL: tuple[Scenario, ...] = (
    *(paid, tampered_amount, tampered_currency, test_channel, virtual_account, expired_account, late_deposit),
    *(partial_refunds, full_refund, failed_then_paid, two_windows, replayed_payment, console_test),
    *(webhook_five_times, webhook_never, paid_before_registered, tier),
)
SCENARIOS = {scenario.__name__.replace("_", "-"): scenario for scenario in _ALL}


def line_of(scenario: Scenario) -> str:
    return (scenario.__doc__ or "").strip()


async def perform(name: str, settings: Settings, tier: str, echo: Callable[[str], None]) -> None:
    """Play a scenario: print each step, then its orders. Raises CommandFailed if an order does not read as it must."""
    addresses, scenario = Addresses.find(settings), SCENARIOS[name]
    stage = Stage(
        name,
        service_at(addresses),
        Control(sandbox_at(addresses)),
        echo,
        tier or next(iter(settings.portone_tiers), "abc"),
    )
    echo(f"{name}: {line_of(scenario)}")
    await scenario(stage)
    await stage.show()
