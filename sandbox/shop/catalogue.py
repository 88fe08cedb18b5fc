"""The goods that the shop sells. Prices are integers in the currency's smallest unit, as the service counts."""

from dataclasses import dataclass

from sandbox.money import decimals_of

MOST_OF_ONE = 9


@dataclass(frozen=True, slots=True)
class Good:
    """One thing on the shelf, named in both languages of the shop."""

    id: str
    name_ko: str
    name_en: str
    price: int
    currency: str = "KRW"

    def name(self, language: str) -> str:
        """Return the name in Korean or English."""
        return self.name_en if language == "en" else self.name_ko


GOODS = {
    good.id: good
    for good in (
        Good("chair", "노르웨이 회전 의자", "Norwegian swivel chair", 64900),
        Good("lamp", "책상 스탠드", "Desk lamp", 28000),
        Good("cup", "손으로 빚은 찻잔", "Hand-thrown tea cup", 9500),
        Good("book", "해외 도서", "Book from abroad", 600, "USD"),
    )
}


def in_units(amount: int, currency: str) -> int | float:
    """Return an amount as PortOne's SDK wants it, in the currency's own unit: 64900 won, 6.0 dollars."""
    decimals = decimals_of(currency)
    return amount / 10**decimals if decimals else amount
