"""The addresses that are of the open internet, and those that are not."""

import pytest

from service.domain.network import is_public

_INSIDE = """
    0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1
    192.88.99.1 192.168.0.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
    :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::a00:1
    64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1:: 2002:a00:1:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1
    fe80::1%eth0 fec0::1 ff02::1 ff0e::1 localhost example.com 1.2.3 1.2.3.4.5
"""


@pytest.mark.parametrize("address", _INSIDE.split())
def test_inside(address: str) -> None:
    """Private, local, shared, reserved, documentation and multicast addresses, also within IPv6, are not public."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "52.78.100.19", "2606:4700::1111", "64:ff9b::808:808"])
def test_outside(address: str) -> None:
    """Addresses of the open internet are public, also behind a translator."""
    assert is_public(address)
