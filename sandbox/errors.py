"""Errors in a request to any of the sandbox's APIs."""


class BadInput(Exception):
    """The request cannot be understood; the message is one sentence that says why."""


class NotANumber(Exception):
    """The value is no finite number."""


class UnknownPayment(Exception):
    """There is no payment with this imp_uid."""


class Refused(Exception):
    """The payment cannot make this move; the message is one sentence that says why."""


class AlreadyPaid(Refused):
    """A window is asked for an order that is paid."""


class OtherAmountPrepared(Refused):
    """A window is asked for another amount or currency than the shop has prepared."""
