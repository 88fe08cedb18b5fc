"""Whom Postgres runs as: it refuses root, so root's child becomes `nobody`."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cli.errors import CommandFailed


@dataclass(frozen=True)
class Account:
    uid: int
    gid: int

    def may(self, right: str, path: Path) -> bool:
        """Ask the system itself, as this user: modes, owners, lists and mounts all count. `right` as in test(1)."""
        question = ["/bin/sh", "-c", f'test -{right} "$1"', "sh", str(path)]
        try:
            asked = subprocess.run(
                question, cwd="/", user=self.uid, group=self.gid, extra_groups=(), check=False, timeout=10
            )
        except (PermissionError, subprocess.SubprocessError) as error:
            raise CommandFailed(
                "Postgres does not run as root, and this root may not become `nobody`: run as an ordinary user."
            ) from error
        return asked.returncode == 0


def unprivileged() -> Account | None:
    """The account to drop to; None for an ordinary user, who stays what he is."""
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise CommandFailed(
            "Postgres does not run as root, and there is no user `nobody` to become: run as an ordinary user."
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid)
