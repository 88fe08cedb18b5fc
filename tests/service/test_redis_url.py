"""REDIS_URL: one server or its Sentinels, in plain or over TLS; a wrong one is named in a sentence without secrets."""

from pathlib import Path

import pytest
from redis.asyncio.connection import SSLConnection

from cli.addresses import place
from service.redis_url import read_redis_url
from service.settings import Settings, SettingsError
from service.settings_text import hide_password

_SENTINELS = "redis+sentinel://:s3cret@s1:26379,s2,[::1]:7000/mymaster/2?sentinel_password=s3cret2&sentinel_username=u"


def test_sentinels_are_read() -> None:
    """Each Sentinel has a host and a port, and the servers and the Sentinels have passwords of their own."""
    address = read_redis_url(_SENTINELS)
    assert address.sentinels == (("s1", 26379), ("s2", 26379), ("::1", 7000))
    assert (address.master, address.options) == ("mymaster", {"password": "s3cret", "db": 2})
    assert address.sentinel_options == {"username": "u", "password": "s3cret2"}
    assert place(_SENTINELS) == "Sentinel s1:26379,s2:26379,::1:7000/mymaster/2"
    assert "s3cret" not in hide_password(_SENTINELS)


@pytest.mark.parametrize("scheme", ["rediss", "rediss+sentinel"])
def test_tls_checks_the_certificate(scheme: str, tmp_path: Path) -> None:
    """TLS checks whether the certificate is the host's, unless the URL says that nothing is checked."""
    (tmp_path / "ca.pem").touch()
    hosts = "h/mymaster/0" if "sentinel" in scheme else "h/0"
    address = read_redis_url(f"{scheme}://:p@{hosts}?ssl_ca_certs={tmp_path}/ca.pem")
    tls = {"ssl_ca_certs": f"{tmp_path}/ca.pem", "ssl_check_hostname": True}
    assert address.is_encrypted
    assert address.options.items() >= {"connection_class": SSLConnection, **tls}.items()
    assert address.sentinel_options == (tls if "sentinel" in scheme else {})
    unchecked = read_redis_url(f"{scheme}://:p@{hosts}?ssl_cert_reqs=none")
    assert unchecked.options["ssl_check_hostname"] is False


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("s3cret@host", "must start with redis://, rediss://, unix://, redis"),
        ("http://s3cret@host", "must start with redis://, rediss://, unix://, redis"),
        (
            "redis://:s3cret@a:6379,b:6379/0",
            "names several servers, and only Sentinels know which is the master: write",
        ),
        ("redis://:s3/cret@a:6379/0", "cannot be read: percent-encode special characters in its password"),
        ("redis://:s3cret@a:66379/0", "cannot be read: percent-encode"),
        ("redis://:s3cret@a:6379/s3cret", "must end in the number of a database, as /0"),
        ("redis://:s3cret@a:6379/0?socket_timeout=s3cret", "Invalid value for 'socket_timeout' in connection URL"),
        ("redis://:s3cret@a:6379/0?s3cret=1", "has an option that is not known: these are db, username"),
        (
            "redis://:s3cret@a:6379/0?ssl_ca_certs=/ca.pem",
            "has the option ssl_ca_certs, which is for TLS: start it with",
        ),
        ("rediss://:s3cret@a:6379/0?ssl_ca_certs=/none/s3cret", "names a file in ssl_ca_certs that cannot be read"),
        ("rediss://:s3cret@a:6379/0?ssl_cert_reqs=s3cret", "has an ssl_cert_reqs that is not required, optional or"),
        ("redis+sentinel://:s3cret@a:26379,b:26379", "must name Sentinel's master after the hosts, as redis+sentinel:"),
        (
            "redis+sentinel://:s3cret@a:26379,/mymaster",
            "must name each Sentinel as host:port, with commas between them",
        ),
        ("redis+sentinel://:s3cret@a:0/mymaster", "must name each Sentinel as host:port, with commas between them"),
        ("redis+sentinel://:s3cret@a/mymaster/s3cret", "must end in the number of a database, as /0"),
        ("redis+sentinel://:s3/cret@a/mymaster/0", "cannot be read: percent-encode special characters"),
    ],
)
def test_a_wrong_url_is_named_in_a_sentence(url: str, sentence: str) -> None:
    """The settings refuse a wrong REDIS_URL with one sentence that says what to write, and shows no part of it."""
    with pytest.raises(SettingsError) as refused:
        Settings.load(_env_file=None, redis_url=url)
    assert f"REDIS_URL: {sentence}" in str(refused.value)
    assert "s3cret" not in str(refused.value)
