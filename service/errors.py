"""The service's errors, as a small tree. The message is the docstring; `transient` says whether to try again."""

from service.domain.notice import Outcome
from service.domain.unreadable import UnreadablePayment


class ServiceError(Exception):
    """Something went wrong."""

    transient = False

    def __init__(self, detail: str = "") -> None:
        sentence = (self.__doc__ or "").strip()
        super().__init__(f"{sentence} ({detail})" if detail else sentence)


class NotAsked(ServiceError):
    """PortOne could not be asked."""

    transient = True
    # The name of this failure in a notice's row, for people and for a completion call that waits.
    outcome = Outcome.PORTONE_UNAVAILABLE


class PortOneUnavailable(NotAsked):
    """PortOne did not answer, or answered that it cannot now."""


class PortOneRefused(NotAsked):
    """PortOne refused our key: check PORTONE_IMP_KEY and PORTONE_IMP_SECRET, or the account in PORTONE_ACCOUNTS."""

    # Transient, because the operator will correct a rotated key: no notice may end on it.
    outcome = Outcome.PORTONE_REFUSED


class AccountNotConfigured(NotAsked):
    """The PortOne account is not configured: name it in PORTONE_ACCOUNTS."""

    outcome = Outcome.STORE_NOT_CONFIGURED


class UnreadableAnswer(NotAsked):
    """PortOne's answer could not be read."""

    outcome = Outcome.ANSWER_UNREADABLE


class UnreadableMoney(UnreadableAnswer):
    """PortOne's answer could not be read, and its payment may hold money."""

    def __init__(self, detail: str, payment: UnreadablePayment) -> None:
        super().__init__(detail)
        self.payment = payment


class KeyEnded(ServiceError):
    """This service key was revoked, or has expired: use another one."""


class PostgresUnavailable(ServiceError):
    """Postgres cannot be reached now."""

    transient = True

    @property
    def is_silent(self) -> bool:
        """Return whether Postgres did not answer in time, so that it would keep the next caller waiting too."""
        return isinstance(self.__cause__, TimeoutError)


class UnfitPooler(PostgresUnavailable):
    """The pooler before Postgres is not set as it must be."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.text, self.advice = text, advice


class Overloaded(ServiceError):
    """Too many calls of this kind are waiting; call again a little later."""

    transient = True


class FeedHeldBack(ServiceError):
    """It is not known yet up to which event the feed can be read; try again."""

    transient = True


class UnknownCursor(ServiceError):
    """This cursor is beyond the feed, so it is another database's: begin again without it, or with after=now."""


class RedisUnavailable(ServiceError):
    """Redis cannot be reached now."""

    transient = True


class NothingRecorded(ServiceError):
    """The notice could not be recorded anywhere; send it again."""

    transient = True


class NoRoom(NothingRecorded):
    """Postgres is away, and the room for notices in Redis is used up; send it again."""


class UnusableNotice(ServiceError):
    """The notice names no usable payment."""


class OtherTerms(ServiceError):
    """This merchant_uid is registered already, with other terms."""


class KeyReused(ServiceError):
    """This Idempotency-Key was used for another call: take a new one for each."""


class KeyInUse(ServiceError):
    """The first call with this Idempotency-Key is still running: call again a little later."""

    transient = True


class OrderNotRegistered(ServiceError):
    """No order is registered under this merchant_uid."""


class OrderArchived(ServiceError):
    """The order was archived: `portone-orders archive restore` brings it back."""


class OtherDatabase(ServiceError):
    """The archive is another database's, because the orders' events are not in this one."""


class VersionMoved(ServiceError):
    """The order has changed since it was read: read it again, and send its new ETag as If-Match."""


class OrderClosed(ServiceError):
    """The order is closed: register another one."""


class MoneyCame(ServiceError):
    """The order has been paid, so it can be neither changed nor withdrawn."""


class DepositAwaited(ServiceError):
    """An account that was issued for the order still takes a deposit: cancel it at PortOne first, or use force."""


class PortOneNotAsked(ServiceError):
    """PortOne could not be asked in time whether money has come; try again."""

    transient = True


class NotAcceptable(ServiceError):
    """This payment cannot be accepted as it is."""


class NotRefundable(ServiceError):
    """This payment cannot be refunded from here."""


class Unsure(ServiceError):
    """It was not known in time whether the payment may go on."""

    transient = True


class MigrationRefused(ServiceError):
    """This version cannot work with the database's schema."""
