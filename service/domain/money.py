"""Money as integers in a currency's smallest unit, beside its ISO 4217 code.

KRW 64900 is 64,900 won; USD 600 is $6.00. A float never holds money here.
"""

from decimal import Decimal, InvalidOperation

# A signed 64-bit column holds every amount; PortOne's own V2 API uses int64 as well.
MAX_AMOUNT = 2**63 - 1

# ISO 4217, by the number of decimals of the smallest unit. Source: the standard's list one, 2024-06.
_DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD "
        "CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP "
        "GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD "
        "MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP "
        "PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT "
        "TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
DECIMALS = {code: decimals for decimals, codes in _DECIMALS.items() for code in codes.split()}

# No order can have an unknown currency, so this guess decides nothing. Most currencies have two decimals.
_UNKNOWN_CURRENCY_DECIMALS = 2


class InexactAmount(ValueError):
    """An amount is not a whole number of the currency's smallest unit, or is out of range."""


def is_known(currency: str) -> bool:
    return currency in DECIMALS


def is_code(currency: str) -> bool:
    """Return whether the text has the shape of an ISO 4217 code, known to us or not."""
    return len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()


def exact(value: object) -> Decimal | None:
    """Return a number of JSON or a form as it was written: 6.1 is 6.1, not 6.0999…; None if it is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    try:
        return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        return None


def to_minor(amount: Decimal, currency: str) -> int:
    """Convert V1's decimal amount to the smallest unit, exactly: 6.00 USD → 600, 64900 KRW → 64900.

    Raises InexactAmount if there is no exact result (0.5 won, NaN, a negative or an enormous number).
    """
    if not amount.is_finite() or amount < 0 or amount > MAX_AMOUNT:
        raise InexactAmount(f"{amount} is not an amount of money")
    minor = amount.scaleb(DECIMALS.get(currency, _UNKNOWN_CURRENCY_DECIMALS))
    whole = int(minor)
    if minor != whole or whole > MAX_AMOUNT:
        raise InexactAmount(f"{amount} is not a whole number of {currency}'s smallest unit")
    return whole


def whole_to_minor(amount: int, currency: str) -> int:
    """Convert a whole number, as nearly all of V1's amounts are, without Decimal. Raises InexactAmount."""
    minor: int = amount * 10 ** DECIMALS.get(currency, _UNKNOWN_CURRENCY_DECIMALS)
    if not 0 <= minor <= MAX_AMOUNT:
        raise InexactAmount(f"{amount} is not an amount of money")
    return minor


def to_major(minor: int, currency: str) -> Decimal:
    """Return the amount as V1 writes it, exactly: 600 USD → 6.00, 64900 KRW → 64900."""
    return Decimal(minor).scaleb(-DECIMALS.get(currency, _UNKNOWN_CURRENCY_DECIMALS))
