"""Choose the account that runs Postgres, which refuses root: root's child becomes `nobody`."""

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
        """Return whether this user has a right of test(1). It runs as the user, so ACLs and mounts count too."""
        command = ["/bin/sh", "-c", f'test -{right} "$1"', "sh", str(path)]
        try:
            result = subprocess.run(
                command, cwd="/", user=self.uid, group=self.gid, extra_groups=(), check=False, timeout=10
            )
        except (PermissionError, subprocess.SubprocessError) as error:
            raise CommandFailed(
                "Postgres does not run as root, and this root may not become `nobody`: run as an ordinary user."
            ) from error
        return result.returncode == 0


def unprivileged() -> Account | None:
    """Return the account to drop to, or None for an ordinary user, who keeps their own."""
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise CommandFailed(
            "Postgres does not run as root, and there is no user `nobody` to become: run as an ordinary user."
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid)
