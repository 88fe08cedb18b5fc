"""The header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a repeated call gets its first answer again.

Only final answers are kept. Those after which a caller should try again are not: 202, 408, 425, 429 and 5xx. Nor is the
refusal of a service key.
"""

import functools
import re
from hashlib import sha256

from aiohttp import web

from service.db.idempotency_keys import CallKey, FirstAnswer
from service.errors import KeyInUse
from service.http.bodies import read_kept_body
from service.http.endpoints import Handler, Parameter
from service.http.keys import key_of
from service.http.problems import RETRY_AFTER_SECONDS, HttpProblem, problem_of, problem_response
from service.http.receiver import RECEIVER

_HEADER = "Idempotency-Key"
_KEY_MAX = 255
# RFC 9651's string, whose parameters say nothing to us. Most callers send a UUID without the quotes.
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"\s*(?:;[ -~]*)?')
_BARE = re.compile(r"[!#-+\--:<-~]+")
_ESCAPED = re.compile(r"\\(.)")
_NOT_FINAL = frozenset({202, 401, 403, 408, 425, 429})
# The mark of an answer that is not final although its status is.
NOT_FINAL = web.ResponseKey("not_final", bool)

IDEMPOTENCY_KEY = Parameter(
    _HEADER,
    "header",
    str,
    "A text of your own for this call, such as a UUID in quotes. Whoever repeats the call with it within 24 hours gets"
    " the first answer again, with `Idempotency-Replayed: true`.",
    example='"8e03978e-40d5-43e8-bc93-6894a57f9324"',
    problems=("malformed-idempotency-key", "idempotency-key-in-use", "idempotency-key-reused"),
)


def idempotent(handler: Handler) -> Handler:
    """Give whoever repeats a call with an Idempotency-Key the first answer. Without the header it costs nothing."""

    @functools.wraps(handler)
    async def handle(request: web.Request) -> web.StreamResponse:
        if _HEADER not in request.headers:
            return await handler(request)
        return await _run_once(request, handler, _key(request))

    return handle


async def _run_once(request: web.Request, handler: Handler, key: str) -> web.StreamResponse:
    idempotency = request.app[RECEIVER].idempotency
    body = await read_kept_body(request)
    call = CallKey(_digest(key_of(request).digest, key.encode()), _fingerprint(request, body))
    try:
        begun = await idempotency.begin(call)
    except KeyInUse as error:
        raise HttpProblem(409, "idempotency-key-in-use", str(error), Retry_After=str(RETRY_AFTER_SECONDS)) from None
    if isinstance(begun, FirstAnswer):
        return _again(begun)
    try:
        response = await handler(request)
    except Exception as error:
        response = problem_response(problem_of(error))
    await idempotency.end(begun, _final(response))
    return response


def _key(request: web.Request) -> str:
    """Return the caller's text, the same with and without quotes. Raises HttpProblem."""
    given = request.headers.getall(_HEADER)
    text = given[0].strip()
    if quoted := _STRING.fullmatch(text):
        text = _ESCAPED.sub(r"\1", quoted[1])
    elif not _BARE.fullmatch(text):
        text = ""
    if len(given) > 1 or not 1 <= len(text) <= _KEY_MAX:
        raise HttpProblem(
            400,
            "malformed-idempotency-key",
            "Send one Idempotency-Key of 1 to 255 printable ASCII characters, in quotes.",
        )
    return text


def _fingerprint(request: web.Request, body: bytes) -> bytes:
    """Return a digest of all that decides what a call does; how long it waits does not."""
    conditions = ",".join(request.headers.getall("If-Match", ()))
    return _digest(request.method.encode(), request.path_qs.encode(), conditions.encode("utf-8", "replace"), body)


def _digest(*parts: bytes) -> bytes:
    """Return one digest of several texts; with their lengths, so that none runs into the next."""
    return sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def _final(response: web.StreamResponse) -> FirstAnswer | None:
    """Return what to keep of an answer; None if the caller should try again."""
    body = response.body if isinstance(response, web.Response) else None
    is_final = response.status < 500 and response.status not in _NOT_FINAL and not response.get(NOT_FINAL)
    if not is_final or not isinstance(body, bytes):
        return None
    # aiohttp's names are no plain texts.
    return FirstAnswer(response.status, {str(name): value for name, value in response.headers.items()}, body)


def _again(answer: FirstAnswer) -> web.Response:
    headers = answer.headers | {"Idempotency-Replayed": "true"}
    return web.Response(body=answer.body, status=answer.status, headers=headers)
