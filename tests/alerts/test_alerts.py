"""A fault of each kind fires its alert, and a healthy service fires none."""

from pathlib import Path

import pytest

from docs.make_metrics import ours
from service.settings import Settings
from service.usecases import measuring
from tests.alerts.promtool import ALERTS, firing, require_promtool
from tests.alerts.stage import PLANTS, RECEIVERS, WORKERS, staged
from tests.running import until
from tests.sandbox_client import RunningSandbox


@pytest.fixture(autouse=True)
def _measured_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    require_promtool()
    monkeypatch.setattr(measuring, "_FRESH_SECONDS", 0.0)


def test_each_alert_has_a_fault() -> None:
    """No alert is without a fault that fires it."""
    assert PLANTS.keys() == ALERTS.keys()


async def test_a_healthy_service_fires_no_alert(settings: Settings, sandbox: RunningSandbox, tmp_path: Path) -> None:
    """After a payment went well nothing fires, and the two pages have every metric of ours."""
    async with staged(settings, sandbox) as stage:
        await stage.start()
        await stage.service.register("order-1")
        await sandbox.pay("order-1", 64900)
        await stage.service.becomes("order-1", state="paid")
        pages = await stage.pages()
        assert await firing(stage.before, pages, tmp_path) == set()
    text = f"{pages[RECEIVERS]}{pages[WORKERS]}"
    assert not [name for name in ours() if f"# TYPE {name} " not in text]


@pytest.mark.parametrize("name", PLANTS)
async def test_the_fault_fires_the_alert(
    name: str, settings: Settings, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    """The planted fault fires its alert, and no other than those that are signs of the same fault."""
    fired: set[str] = set()
    async with staged(settings, sandbox) as stage:
        companions = await PLANTS[name](stage)

        async def has_fired() -> bool:
            nonlocal fired
            fired = await firing(stage.before, await stage.pages(), tmp_path)
            return name in fired

        try:
            await until(has_fired)
        except TimeoutError:
            pytest.fail(f"{name} did not fire, but {sorted(fired)}")
        assert fired <= {name} | companions
