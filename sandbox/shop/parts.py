"""The parts of the shop, as its handlers find them in the application."""

from dataclasses import dataclass

from aiohttp import web

from sandbox.journal import Journal
from sandbox.shop.order_watch import OrderWatch
from sandbox.shop.service import OrderService


@dataclass(frozen=True, slots=True)
class Shop:
    """The shop's way to the service, the record of what happens to its orders, and who reads them again."""

    service: OrderService
    journal: Journal
    order_watch: OrderWatch


SHOP = web.AppKey("shop", Shop)
