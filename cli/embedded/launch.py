"""Replace this process: `launch.py PARENT DEATH_SIGNAL UID GID PROGRAM [ARGUMENT]...`; -1 keeps the user.

This is a script because subprocess's `preexec_fn` is unsafe beside threads. It imports only the standard library and
needs no site-packages.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    parent, death_signal, uid, gid = (int(word) for word in sys.argv[1:5])
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":  # only after setuid, which clears it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:
        sys.exit("the parent of this process is gone")
    os.execv(sys.argv[5], sys.argv[5:])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    try:
        main()
    except OSError as problem:
        sys.exit(f"{sys.argv[5]} cannot be started: {problem.strerror}")
