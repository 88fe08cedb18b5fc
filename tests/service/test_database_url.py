"""A URL of Postgres may name several servers, and one that is wrong is explained without a word of its password."""

import pytest

from service.database_url import PostgresServer, places, servers_of, target_of
from service.settings import Settings, SettingsError

_SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("postgresql://u:p@one/db", [PostgresServer("one", 5432)]),
        ("postgresql://u:p@one:5433/db", [PostgresServer("one", 5433)]),
        ("postgresql://u:p@one:5433,two/db", [PostgresServer("one", 5433), PostgresServer("two", 5432)]),
        ("postgresql://u:p@[::1]:5433,[fe80::1]/db", [PostgresServer("::1", 5433), PostgresServer("fe80::1", 5432)]),
        ("postgresql://u:p%2C%40@one,two/db", [PostgresServer("one", 5432), PostgresServer("two", 5432)]),
        ("postgresql:///db?host=one,two&port=5433", [PostgresServer("one", 5433), PostgresServer("two", 5433)]),
        ("postgresql:///db?host=one,two&port=1,2", [PostgresServer("one", 1), PostgresServer("two", 2)]),
        ("postgresql:///db?host=/run/postgresql", [PostgresServer("/run/postgresql", 5432)]),
        ("postgresql://u@%2Frun%2Fpostgresql/db", [PostgresServer("/run/postgresql", 5432)]),
        ("postgresql:///db", [PostgresServer()]),
    ],
)
def test_servers_are_those_of_the_url(url: str, servers: list[PostgresServer]) -> None:
    """Hosts and ports are read as libpq reads them, and the settings accept such a URL."""
    assert servers_of(url) == servers
    assert Settings.load(_env_file=None, database_url=url).database_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("rest", "sentence"),
    [
        ("one,,two/db", "names an empty host (its 2.)"),
        ("one:x,two/db", "as the port of its 1. host"),
        ("one:5432,two:70000/db", "as the port of its 2. host"),
        ("one:5432:5433/db", "as the port of its 1. host"),
        ("[::1,two/db", "cannot be read"),
        ("p@ss@one/db", "percent-encode special characters in its password"),
        ("word/more@one/db", "percent-encode special characters in its password"),
        ("one,two/db?target_session_attrs=any", "target_session_attrs must be read-write or primary"),
        ("one,two/db?target_session_attrs=standby", "target_session_attrs must be read-write or primary"),
    ],
)
def test_a_wrong_url_is_explained(rest: str, sentence: str) -> None:
    """One sentence says what is wrong, and has nothing of the password."""
    separator = "" if rest.startswith("word") else "@"
    with pytest.raises(SettingsError) as raised:
        Settings.load(_env_file=None, database_url=f"postgresql://user:{_SECRET}{separator}{rest}")
    assert sentence in str(raised.value)
    assert "DATABASE_URL" in str(raised.value)
    assert _SECRET not in str(raised.value)
    assert "word" not in str(raised.value).replace("password", "")


def test_ports_that_match_no_hosts_are_explained() -> None:
    """Ports are as many as hosts, or one for all."""
    with pytest.raises(SettingsError, match="has 3 ports for 2 hosts"):
        Settings.load(_env_file=None, database_url="postgresql:///db?host=one,two&port=1,2,3")


def test_people_see_the_servers_and_no_password() -> None:
    """The servers and the database of a URL are what people see of it."""
    url = f"postgresql://user:{_SECRET}@one:5433,[::1]/db?target_session_attrs=read-write"
    assert places(url) == "one:5433,[::1]:5432/db"
    assert target_of(url) == "read-write"
