"""Ask a shop's confirm_url just before an approval."""

import aiohttp
import orjson

from sandbox.payment import Payment

CONFIRM_WITHIN_SECONDS = 10
NOT_CONFIRMED = "고객사 요청에 의해 결제를 중단합니다. (상세사유 : {})"
NO_REASON = "알 수 없음"
MOST_BYTES = 16_384


async def ask_shop(session: aiohttp.ClientSession, url: str, payment: Payment) -> str | None:
    """Return None where the shop answers 200, and otherwise the sentence with which the payment fails."""
    body = {"imp_uid": payment.imp_uid, "merchant_uid": payment.merchant_uid, "amount": payment.fields["amount"]}
    timeout = aiohttp.ClientTimeout(total=CONFIRM_WITHIN_SECONDS)
    try:
        async with session.post(url, json=body, timeout=timeout, allow_redirects=False) as answer:
            return None if answer.status == 200 else NOT_CONFIRMED.format(await _read_reason(answer))
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return NOT_CONFIRMED.format(NO_REASON)


async def _read_reason(answer: aiohttp.ClientResponse) -> str:
    try:
        content = orjson.loads(await answer.content.read(MOST_BYTES))
    except orjson.JSONDecodeError:
        return NO_REASON
    reason = content.get("reason") if isinstance(content, dict) else None
    return reason if isinstance(reason, str) and reason else NO_REASON
