"""The load of an upgrade counts what is refused, and its verdict names each bound that is broken."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from bench.load import ANSWER_SECONDS
from bench.measure import BenchFailed
from bench.payments import Payments, Phase, Traffic
from bench.upgrade_report import Ending, Result
from bench.versions import checked_out
from tests.running import until

_EVERY = 7


async def test_a_connection_that_is_cut_costs_its_own_request_alone() -> None:
    """Of all calls those are counted as refused that the server cut off, and none besides waits for its answer."""
    completions, cut = 0, 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal completions, cut
        await request.read()
        completions += request.path == "/payment/complete"
        if request.path == "/payment/complete" and completions % _EVERY == 0:
            cut += 1
            assert request.transport is not None
            request.transport.abort()
        return web.Response(text='{"state":"paid"}')

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        payments = Payments(runner.addresses[0][1], Traffic(200.0))
        await payments.begin()
        payments.enter("paying")

        async def enough() -> bool:
            return payments.sent >= 5 * _EVERY

        await until(enough)
        await payments.end()
    finally:
        await runner.cleanup()
    calls = payments.phases[-1].calls
    assert cut == calls["complete"].refused == calls["complete"].statuses[0] >= 5
    assert [calls[kind].statuses.total() for kind in ("webhook", "complete", "read")] == [payments.sent] * 3
    assert calls["webhook"].refused == calls["read"].refused == payments.phases[-1].stale == 0
    assert max(calls["read"].seconds) < ANSWER_SECONDS


def _result(phase: Phase, ending: Ending) -> Result:
    return Result("old", "new", Traffic(2.0), [phase], 2, ending)


def _phase(status: int = 200, seconds: float = 0.9) -> Phase:
    phase = Phase("receivers", 0.0)
    phase.calls["complete"].statuses.update([200, status])
    phase.calls["complete"].seconds += [0.1, seconds]
    return phase


def test_an_upgrade_that_nobody_noticed_breaks_nothing() -> None:
    """A run without a refusal, below a second, with each payment settled once is not broken; 202 is no refusal."""
    assert _result(_phase(), Ending(settled=2)).broken == []
    assert _result(_phase(202), Ending(settled=2)).broken == []


@pytest.mark.parametrize(
    ("phase", "ending", "sentence"),
    [
        (_phase(0), Ending(2), "1 requests were refused"),
        (_phase(429), Ending(2), "1 requests were refused"),
        (_phase(503), Ending(2), "1 requests were refused"),
        (_phase(200, 1.1), Ending(2), "completions took 1,100 ms"),
        (replace(_phase(), stale=1), Ending(2), "1 orders were not paid when read"),
        (_phase(), Ending(1), "of 2 payments 1 were settled"),
        (_phase(), Ending(2, odd_versions=1), "1 orders changed more than once"),
        (_phase(), Ending(2, open=1), "1 notices are open and 0 parked"),
    ],
)
def test_a_broken_bound_is_named(phase: Phase, ending: Ending, sentence: str) -> None:
    """Each bound has one sentence, which says in which phase it was broken."""
    (broken,) = _result(phase, ending).broken
    assert broken.startswith(sentence)


def test_a_version_is_run_only_with_its_own_packages(tmp_path: Path) -> None:
    """An older commit is checked out beside this one and removed again; one with another lock file is refused."""

    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", *words], cwd=tmp_path, check=True)

    def commit(lock: str, name: str) -> None:
        (tmp_path / "requirements" / "run.txt").write_text(lock, "utf-8")
        (tmp_path / "name").write_text(name, "utf-8")
        git("add", "--all")
        git("commit", "--quiet", "--message", name)
        git("branch", name)

    git("init", "--quiet")
    (tmp_path / "requirements").mkdir()
    commit("one", "first")
    commit("two", "second")
    commit("two", "third")
    with checked_out("second", tmp_path) as version:
        assert (version.tree / "name").read_text("utf-8") == "second"
    assert not version.tree.exists()
    with pytest.raises(BenchFailed, match="needs other packages"), checked_out("first", tmp_path):
        pass
    with pytest.raises(BenchFailed, match="no tag yet"), checked_out("", tmp_path):
        pass
    git("tag", "--annotate", "--message", "m", "v1", "second")
    with checked_out("", tmp_path) as version:
        assert (version.tree / "name").read_text("utf-8") == "second"
