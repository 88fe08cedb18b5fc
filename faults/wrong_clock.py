"""A machine whose clock can be set wrong while its programs run, without root.

`python -m faults.wrong_clock FILE MODULE [ARGUMENT]...` runs a module as on that machine. FILE has how many seconds its
clock is ahead, and a signal says that it was set. All that Python's own libraries say of the time follows it, also for
those who have imported the functions already; time that only counts (`time.monotonic`, a loop's timers) does not, as on
a machine whose clock is set.
"""

import os
import runpy
import signal
import sys
from datetime import timedelta
from pathlib import Path

import time_machine

# A program that does not follow it yet ignores it.
_SET = signal.SIGURG


class WrongClock:
    """The clock of one machine, which is right at first."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def words(self, *module: str) -> list[str]:
        """Return the words after `python` that run a module on this machine."""
        return ["-m", __name__, str(self._file), *module]

    def set(self, ahead_seconds: int, pid: int | None = None) -> None:
        """Set the clock, also that of a program which runs already. One that starts later has it too."""
        new = self._file.with_suffix(".new")
        new.write_text(str(ahead_seconds))
        new.replace(self._file)
        if pid:
            os.kill(pid, _SET)


class _Followed:
    """The clock of this process, which follows that of its machine."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._wrong: time_machine.travel | None = None

    def follow(self) -> None:
        ahead_seconds: int | None = None
        while (given := int(self._file.read_text())) != ahead_seconds:  # a signal may come in the middle of this
            ahead_seconds = given
            self._set(given)

    def _set(self, ahead_seconds: int) -> None:
        if self._wrong:
            self._wrong.stop()
            self._wrong = None
        if ahead_seconds:
            self._wrong = time_machine.travel(timedelta(seconds=ahead_seconds))
            self._wrong.start()


def main() -> None:
    file, module = sys.argv[1:3]
    clock = _Followed(Path(file))
    signal.signal(_SET, lambda *_: clock.follow())
    clock.follow()
    del sys.argv[1:3]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
