"""`doctor` names a database on another machine that is reached without TLS, or whose certificate nobody checks."""

import pytest

from cli.checks.encryption import check_encryption
from service.settings import Settings


@pytest.mark.parametrize(
    ("urls", "named"),
    [
        ({"database_url": "postgresql://u@db/o", "redis_url": "redis://cache:6379/0"}, []),
        ({"database_url": "postgresql://u@127.0.0.1/o", "redis_url": "redis://[::1]/0"}, []),
        ({"database_url": "postgresql:///o?host=/run/postgresql", "redis_url": "unix:///run/redis.sock"}, []),
        ({"database_url": "postgresql://u@db.example/o?sslmode=verify-full"}, []),
        ({"database_url": "postgresql://u@db.example/o"}, ["Postgres at db.example:5432/o is another machine"]),
        ({"database_url": "postgresql://u@10.0.0.1/o?sslmode=require"}, ["nobody checks its certificate: add sslmode"]),
        ({"read_database_url": "postgresql://u@10.0.0.1/o"}, ["sslrootcert to READ_DATABASE_URL"]),
        ({"redis_url": "rediss://cache.example/0"}, []),
        (
            {"redis_url": "redis://cache.example/0"},
            ["Redis at cache.example:6379/0 is another machine, and is reach"],
        ),
        ({"redis_url": "rediss://10.0.0.1/0?ssl_cert_reqs=none"}, ["nobody checks its certificate: start REDIS_URL"]),
        (
            {"redis_url": "redis+sentinel://10.0.0.1,10.0.0.2/mymaster"},
            ["Redis at Sentinel 10.0.0.1:26379,10.0.0.2:2"],
        ),
        ({"redis_url": "rediss+sentinel://10.0.0.1/mymaster"}, []),
    ],
)
async def test_a_remote_database_without_tls_is_named(urls: dict[str, str], named: list[str]) -> None:
    """Names without a dot and this machine's own addresses are left alone; others need a checked certificate."""
    faults = await check_encryption(Settings.load(_env_file=None, **urls))
    assert len(faults) == len(named)
    assert all(part in fault for part, fault in zip(named, faults, strict=True))
