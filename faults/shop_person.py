"""A person of the shop, who has a payment refunded with the product's own command."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import aiohttp

from faults.stack import KEY, Stack

_PAUSE_SECONDS = 0.3
# What the command says of a refund that it has already recorded, and that went on meanwhile.
_ALREADY = "is not asked for twice"


class Person:
    """Waits until a payment is a problem of its order, then wants its refund. `wanted` has those that were promised."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.wanted: set[str] = set()

    async def have_refunded(self, merchant_uid: str, imp_uid: str) -> None:
        """Try until the command says that the refund is recorded."""
        while not await self._is_problem(merchant_uid, imp_uid):  # noqa: ASYNC110 - it becomes true elsewhere
            await asyncio.sleep(_PAUSE_SECONDS)
        while not await self._command(imp_uid):  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE_SECONDS)
        self.wanted.add(imp_uid)

    async def _is_problem(self, merchant_uid: str, imp_uid: str) -> bool:
        assert self._stack.session  # noqa: S101 - it is started
        url, headers = f"{self._stack.entry_url}/orders/{merchant_uid}", {"Authorization": f"Bearer {KEY}"}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self._stack.session.get(url, headers=headers) as answer:
                problems = (await answer.json())["problems"] if answer.status == 200 else []
                return any(problem["imp_uid"] == imp_uid for problem in problems)
        return False

    async def _command(self, imp_uid: str) -> bool:
        words = ["-m", "cli.main", "problems", "refund", imp_uid, "--who", "clerk", "--why", "wrong price"]
        inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            cwd=self._stack.folder,
            env=inherited | {"PYTHONPATH": str(Path(__file__).parent.parent)} | self._stack.operator_settings(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode == 0 or _ALREADY in output.decode()
