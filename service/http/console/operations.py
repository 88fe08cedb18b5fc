"""The operations of the console: a page says first what will happen, and asks for the reason.

Each operation is a use case that the command has too, with the same guards.
"""

from collections.abc import Callable, Mapping

from aiohttp import web

from service.db import endpoints, operator_actions, order_search, problems
from service.domain.completion import Unsettled
from service.domain.refund import RefundState
from service.errors import NotAcceptable, NotRefundable, OrderNotRegistered
from service.http.console.effects import Effect, Operation, of_order, words
from service.http.console.guard import ConsoleRefused, read_form
from service.http.console.languages import told, word
from service.http.console.notice_operations import NOTICE_OPERATIONS
from service.http.console.rendering import money, time_text
from service.http.console.sign_in import require_form_of
from service.http.console.visits import Visit, go_to
from service.usecases import acceptance, endpoint_changes, resolving
from service.usecases.acceptance import Acceptance
from service.usecases.refund_intents import Intents

_WHY_MAX = 500
_REFUSALS = (NotRefundable, NotAcceptable, OrderNotRegistered)
# How long "look again" waits for PortOne. The worker goes on after that.
_LOOK_SECONDS = 5.0


async def confirm(visit: Visit) -> web.StreamResponse:
    """Say what will happen, and ask for the reason."""
    name, subject = visit.request.query.get("do", ""), visit.request.query.get("subject", "")
    return await _confirmation(visit, name, subject)


async def act(visit: Visit) -> web.StreamResponse:
    """Do it, record who and why, and go back."""
    fields = await read_form(visit.request)
    require_form_of(visit, fields.get("csrf", ""))
    name, subject, why = fields.get("do", ""), fields.get("subject", ""), fields.get("why", "").strip()[:_WHY_MAX]
    if not why:
        return await _confirmation(visit, name, subject, status=400)
    operation = _operation(name)
    try:
        effect = await operation.foresee(visit, subject)
        done = await operation.do(visit, subject, why)
    except _REFUSALS as error:
        return await _refusal(visit, operation, subject, error)
    return go_to(effect.back, **effect.query, done=done)


async def _confirmation(visit: Visit, name: str, subject: str, status: int = 200) -> web.StreamResponse:
    operation = _operation(name)
    try:
        effect = await operation.foresee(visit, subject)
    except _REFUSALS as error:
        return await _refusal(visit, operation, subject, error)
    return visit.page(
        "confirm.html", status, operation=operation, name=name, subject=subject, effect=effect, why_max=_WHY_MAX,
        is_why_missing=status == 400,
    )  # fmt: skip


async def _refusal(visit: Visit, operation: Operation, subject: str, error: Exception) -> web.StreamResponse:
    """Say why it is not possible, and of which order the subject is."""
    named = await visit.receiver.console.ask(order_search.named, subject)
    order = named[0] if len(named) == 1 else None
    return visit.page("refused.html", 409, operation=operation, subject=subject, reason=str(error), order=order)


def _operation(name: str) -> Operation:
    operation = OPERATIONS.get(name)
    if operation is None:
        raise ConsoleRefused(404, "There is nothing of this name.")
    return operation


async def _foresee_look(visit: Visit, merchant_uid: str) -> Effect:
    if await visit.receiver.reading.read(merchant_uid) is None:
        raise OrderNotRegistered
    return of_order(
        [
            visit.say("PortOne is asked now for all payments of this order, and the order follows its answer."),
            visit.say("Nothing becomes paid that PortOne does not call paid, so looking again is always safe."),
        ],
        merchant_uid,
    )


async def _look(visit: Visit, merchant_uid: str, why: str) -> str:
    await visit.receiver.console.write(operator_actions.append, visit.who, why, "orders.look", [merchant_uid])
    looked = await visit.receiver.rechecks.recheck(merchant_uid, _LOOK_SECONDS)
    return "not-looked-yet" if isinstance(looked, Unsettled) else "looked"


async def _foresee_resolve(visit: Visit, imp_uid: str) -> Effect:
    found = await visit.receiver.console.read(problems.of_payment, imp_uid)
    if not found:
        raise ConsoleRefused(404, "This payment has no open problem any more.")
    kinds = words(visit, dict.fromkeys(problem.kind for problem in found))
    sentences = [
        visit.say("These problems are recorded as seen, and stay as they are: {kinds}.", kinds=kinds),
        visit.say("The money stays where it is. No policy refunds this payment any more."),
        visit.say("A refund of this payment that was not sent is withdrawn."),
        visit.say("If a problem ends and is found again, it is open again."),
    ]
    merchant_uid = found[0].merchant_uid
    return of_order(sentences, merchant_uid) if merchant_uid else Effect(sentences, "/console/problems")


async def _resolve(visit: Visit, imp_uid: str, why: str) -> str:
    await visit.receiver.console.run(lambda pool: resolving.resolve(pool, imp_uid, visit.who, why))
    return "resolved"


def _intents(visit: Visit) -> Callable[..., Intents]:
    settings = visit.receiver.settings
    return lambda pool: Intents(
        pool,
        accounts=settings.accounts.keys(),
        allow_test_channel=settings.allow_test_channel,
        times=settings.times,
    )


async def _foresee_refund(visit: Visit, imp_uid: str) -> Effect:
    intents = _intents(visit)
    preview = await visit.receiver.console.run(lambda pool: intents(pool).preview(imp_uid))
    payment, most = preview.ruling.payment, visit.receiver.settings.refund_max_per_hour
    held = money(payment.held, payment.currency)
    sentences = [
        visit.say("All that PortOne holds for this payment goes back to the buyer: {held}.", held=held),
        visit.say("The reason that allows it: {kinds}.", kinds=words(visit, preview.ruling.kinds)),
        visit.say("A worker asks PortOne once, not before {at} (KST), and only if a fresh look shows the same facts.",
                  at=time_text(preview.due_at)),
        visit.say("All workers together ask for at most {count} refunds an hour.", count=most),
        visit.say(
            "Until PortOne has been asked, accepting the payment or leaving it as it is withdraws this refund."
            " After that nothing takes it back."
        ),
    ]  # fmt: skip
    if (refund := preview.refund) and refund.state is RefundState.INTENDED:
        why = told(visit.language, refund.origin.why)
        standing = visit.say(
            "A refund of this payment is intended already, by {who}: {why}."
            " This one takes its place: nothing goes back twice.",
            who=refund.origin.who,
            why=why,
        )
        sentences = [standing, *sentences]
    return of_order(sentences, payment.merchant_uid)


async def _refund(visit: Visit, imp_uid: str, why: str) -> str:
    intents = _intents(visit)
    await visit.receiver.console.run(lambda pool: intents(pool).intend_by_person(imp_uid, visit.who, why))
    return "refund-intended"


async def _foresee_accept(visit: Visit, imp_uid: str) -> Effect:
    allow = visit.receiver.settings.allow_test_channel
    preview = await visit.receiver.console.run(lambda pool: acceptance.preview(pool, imp_uid, allow_test_channel=allow))
    before, after = preview.before, preview.after
    sentences = []
    if after.amount != before.amount:
        new, old = money(after.amount, after.currency), money(before.amount, before.currency)
        sentences.append(visit.say("The order's amount becomes {new}, instead of {old}.", new=new, old=old))
    if before.closed:
        sentences.append(visit.say("The order, which is closed, is open again."))
    sentences.append(
        visit.say(
            "Its state becomes {state}: other services may deliver.",
            state=word(visit.language, preview.settlement.state),
        )
    )
    sentences.append(visit.say("A refund of this payment that was not sent is withdrawn."))
    return of_order(sentences, before.merchant_uid)


async def _accept(visit: Visit, imp_uid: str, why: str) -> str:
    allow, word = visit.receiver.settings.allow_test_channel, Acceptance(imp_uid, visit.who, why)
    accepted = await visit.receiver.console.run(
        lambda pool: acceptance.accept_payment(pool, word, allow_test_channel=allow)
    )
    visit.receiver.announcer.changed(accepted.order.terms.merchant_uid)
    return "accepted"


async def _foresee_enable(visit: Visit, name: str) -> Effect:
    return await _of_endpoint(
        visit, name, visit.say("The endpoint is sent everything that it has missed, and what comes.")
    )


async def _enable(visit: Visit, name: str, why: str) -> str:
    await visit.receiver.console.write(endpoint_changes.enable, name, visit.who, why)
    return "enabled"


async def _foresee_disable(visit: Visit, name: str) -> Effect:
    return await _of_endpoint(
        visit,
        name,
        visit.say("The endpoint is sent nothing more. It keeps its place, so enabling it again misses nothing."),
    )


async def _disable(visit: Visit, name: str, why: str) -> str:
    await visit.receiver.console.write(endpoint_changes.disable, name, visit.who, why)
    return "disabled"


async def _of_endpoint(visit: Visit, name: str, sentence: str) -> Effect:
    if not await visit.receiver.console.ask(endpoints.read, [name]):
        raise ConsoleRefused(404, "There is nothing of this name.")
    return Effect([sentence], "/console/endpoint", {"name": name})


OPERATIONS: Mapping[str, Operation] = {
    "look": Operation("Look again", _foresee_look, _look),
    **NOTICE_OPERATIONS,
    "resolve": Operation("Leave it as it is", _foresee_resolve, _resolve),
    "refund": Operation("Give the money back", _foresee_refund, _refund, is_grave=True),
    "accept": Operation("Accept the payment", _foresee_accept, _accept, is_grave=True),
    "enable": Operation("Enable this endpoint", _foresee_enable, _enable),
    "disable": Operation("Disable this endpoint", _foresee_disable, _disable, is_grave=True),
}
