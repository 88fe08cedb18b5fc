"""The addresses from which PortOne says that it sends (docs/portone.md §2).

They protect nothing: a check of addresses is no proof of who asks, and PortOne's have changed before. Whoever calls
from one of them is only spared the limits that are meant for strangers.
"""

SENDERS = frozenset({"52.78.100.19", "52.78.48.223", "52.78.5.241"})
