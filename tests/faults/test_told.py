"""`make told` in miniature: an endpoint that fails in every way is told of each change, in order."""

from faults.told.__main__ import run


async def test_every_change_is_told_amid_faults() -> None:
    """With faults of every kind and kills of workers and of the endpoint, nothing is missing, late or unverified."""
    [verdict], failures = await run(orders=20, kills=2, seed=1, node=False)
    assert verdict.is_kept, verdict
    assert verdict.changes == 100
    assert failures
