"""A client of portone-orders, for other services: register orders, read them, wait for them, and follow all changes.

It needs aiohttp and nothing else of portone-orders. docs/integrate.md shows it at work.
"""

from portone_orders_client.calls import Refused, Unreachable, WrongAnswer
from portone_orders_client.client import OrdersClient
from portone_orders_client.cursors import CursorStore, FileCursor, MemoryCursor
from portone_orders_client.models import Event, EventPage, Evidence, Finding, Order, OrderPage, Payment, Version

__all__ = [
    "CursorStore",
    "Event",
    "EventPage",
    "Evidence",
    "FileCursor",
    "Finding",
    "MemoryCursor",
    "Order",
    "OrderPage",
    "OrdersClient",
    "Payment",
    "Refused",
    "Unreachable",
    "Version",
    "WrongAnswer",
]
