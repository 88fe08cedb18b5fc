"""The orders that the tests of the console look at: each came to another end."""

from dataclasses import dataclass

from service.db.pool import Pool, open_pool
from service.settings import Settings
from tests.running import RunningService
from tests.sandbox_client import RunningSandbox


@dataclass(frozen=True)
class ServiceWithOrders:
    """The running service, and the payments of its orders by their names: `paid`, `forged`, `lost` and so on."""

    settings: Settings
    service: RunningService
    sandbox: RunningSandbox
    pool: Pool
    payments: dict[str, str]

    @property
    def url(self) -> str:
        return self.service.url

    async def make_key(self, scopes: str = "{admin}", name: str = "kim") -> str:
        """Store a service key, and return it."""
        key = f"pok_{name:_<8}-and-the-rest-of-a-key"
        await self.pool.execute(
            "INSERT INTO service_keys (prefix, digest, name, scopes) VALUES ($1, sha256($2), $3, $4::text[])"
            " ON CONFLICT (prefix) DO UPDATE SET revoked_at = NULL",
            key[:12],
            key.encode(),
            name,
            scopes.strip("{}").split(","),
        )
        return key


async def make_orders(settings: Settings, service: RunningService, sandbox: RunningSandbox) -> ServiceWithOrders:
    """Register orders, and let each come to its end. Returns once all are settled."""
    pool = await open_pool(settings.database_url.get_secret_value(), 2)
    made = ServiceWithOrders(settings, service, sandbox, pool, {})
    for number in ("paid", "forged", "lost", "double", "refunded"):
        await service.register(f"order-{number}", name="A chair")
    sandbox.send_webhooks_to(f"{service.url}/webhooks/portone/v1")
    made.payments["paid"] = (await sandbox.pay("order-paid", 64900))["imp_uid"]
    made.payments["forged"] = (await sandbox.pay("order-forged", 100))["imp_uid"]
    made.payments["refunded"] = (await sandbox.pay("order-refunded", 64900))["imp_uid"]
    first, second = [(await sandbox.open("order-double", 64900))["imp_uid"] for _ in range(2)]
    for imp_uid in (first, second):
        await sandbox.move(imp_uid, "pay")
    made.payments.update(double=first, duplicate=second)
    made.payments["lost"] = (await sandbox.pay("order-lost", 64900, webhook=False))["imp_uid"]
    await service.becomes("order-paid", state="paid")
    await service.becomes("order-refunded", state="paid")
    await service.becomes("order-forged", state="mismatched")
    await service.becomes("order-double", problems=[{"kind": "duplicate_payment", "imp_uid": second}])
    await sandbox.move(made.payments["refunded"], "cancel", amount=10000)
    await service.becomes("order-refunded", state="partially_cancelled")
    await pool.execute("UPDATE ledger_scans SET next_at = now()")
    await service.becomes("order-lost", state="paid")
    await _park(made)
    return made


async def _park(made: ServiceWithOrders) -> None:
    """Have the notice of a paid order parked, as if PortOne's answer had been unreadable, and nobody else look."""
    await made.pool.execute("UPDATE ledger_scans SET next_at = now() + interval '1 day'")
    await made.service.register("order-parked")
    await made.pool.execute("UPDATE order_checks SET next_check_at = now() + interval '1 day'")
    made.payments["parked"] = (await made.sandbox.pay("order-parked", 64900, webhook=False))["imp_uid"]
    await made.pool.execute(
        "INSERT INTO notices (id, source, imp_uid, merchant_uid, claimed_status, registered, tries, parked_at,"
        " last_outcome) VALUES (gen_random_uuid(), 'webhook', $1, 'order-parked', 'paid', true, 8, now(),"
        " 'answer_unreadable')",
        made.payments["parked"],
    )
