"""The OpenAPI document is valid, complete, and agrees with the answers of the receiver."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

from service.domain import checkout_token, completion, confirm
from service.domain.event_type import EVENT_TYPES
from service.domain.order import ProblemKind, State
from service.domain.payment import Status
from service.domain.service_key import Scope
from service.http.app import ENDPOINTS, create_app
from service.http.document import build
from service.http.endpoints import ScopeName
from service.http.problem_types import GENERAL, PROBLEM_TYPES
from service.settings import Settings
from tests.running import PATIENT, bearer, running_receiver, running_worker
from tests.sandbox_client import RunningSandbox

HTTP = Path(__file__).parents[2] / "service" / "http"
URN = "urn:portone-orders:problem:"
METHODS = {"get", "post", "put", "patch", "delete", "options"}

SPEC = build(ENDPOINTS)
SCHEMAS = SPEC["components"]["schemas"]


def resolve(node: Any) -> Any:
    """Return the node that a `$ref` names."""
    while isinstance(node, dict) and "$ref" in node:
        target: Any = SPEC
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/")]
        node = target
    return node


def check(schema: Any, value: Any) -> None:
    """Validate a value against a schema of the document."""
    full_schema = {"components": SPEC["components"], **schema}
    Draft202012Validator(full_schema, format_checker=FormatChecker()).validate(value)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in SPEC["paths"].items():
        for method in METHODS & item.keys():
            yield method, path, item[method]


def contents(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the media types of an operation's request and answers."""
    for part in (operation.get("requestBody", {}), *operation["responses"].values()):
        yield from resolve(part).get("content", {}).values()


def properties(schema: Any) -> set[str]:
    schema = resolve(schema)
    return set(schema.get("properties", ())).union(*(properties(part) for part in schema.get("allOf", ())))


def kinds_in_code() -> set[tuple[int | None, str]]:
    """Return every problem kind that service/http names, with its status, and the refusals of a completion."""
    kinds: set[tuple[int | None, str]] = {(400, refusal.value) for refusal in completion.CompletionRefusal}
    for file in HTTP.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="HttpProblem"), args=[ast.Constant(value=int(status)), kind, *_]):
                    kinds |= {(status, text) for text in _texts(kind)}
                case ast.AnnAssign(target=ast.Name(id="_PASSING"), value=ast.Tuple(elts=passing)):
                    kinds |= {
                        (503, text) for pair in passing if isinstance(pair, ast.Tuple) for text in _texts(pair.elts[1])
                    }
                case ast.Tuple(elts=[ast.Constant(value=int(status)), ast.Constant(value=str(kind))]):
                    kinds.add((status, kind))  # the table of errors that a caller can correct
                case _:
                    pass
    return kinds


def confirm_kinds_in_code() -> set[str]:
    """Return every problem kind of `confirm_url`, whose refusals PortOne reads."""
    kinds = {refusal.value for refusal in confirm.ConfirmationRefusal}
    for node in ast.walk(ast.parse((HTTP / "confirmations.py").read_text("utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="_refuse"), args=[_, kind, *_]):
                kinds |= _texts(kind)
            case _:
                pass
    return kinds


def _texts(node: ast.expr) -> set[str]:
    """Return the possible texts of an expression: a constant, or either side of a condition."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp(body=one, orelse=other):
            return _texts(one) | _texts(other)
        case _:
            return set()


def test_the_document_is_valid() -> None:
    """It is an OpenAPI 3.1 document."""
    validate(SPEC)


def test_every_route_is_described_and_every_description_is_a_route() -> None:
    """The routes of the application and the operations of the document are the same, but for the console's pages."""
    app = create_app(Settings(_env_file=None, database_url="postgresql://db/o", redis_url="redis://cache"))
    routes = {(r.method.lower(), r.resource.canonical) for r in app.router.routes() if r.resource}
    api = {(method, path) for method, path in routes if method != "head" and not path.startswith("/console")}
    assert api == {(method, path) for method, path, _ in operations()}


def test_every_problem_kind_is_described_with_its_status() -> None:
    """The table of problem types has exactly the kinds that the code can answer, each with the status of the code."""
    general = {(400, "bad-request")}  # of whatever status HTTP has for the misuse
    assert {(problem.status, kind) for kind, problem in PROBLEM_TYPES.items()} == kinds_in_code() | general
    assert all(problem.meaning.endswith(".") for problem in PROBLEM_TYPES.values())
    listed = {urn.removeprefix(URN) for urn in SCHEMAS["NotConfirmed"]["properties"]["type"]["x-extensible-enum"]}
    assert listed == confirm_kinds_in_code()


def test_every_problem_kind_is_an_answer_of_some_endpoint() -> None:
    """Each type is an example of some endpoint's answer, but for those that any address may answer."""
    examples = {name for _, _, call in operations() for media in contents(call) for name in media.get("examples", {})}
    assert PROBLEM_TYPES.keys() - examples == set(GENERAL) - {"not-found"}


def test_what_an_answer_calls_a_problem_is_described() -> None:
    """Each answer that is a problem document says what each of its kinds means."""
    for _, _, operation in operations():
        for answer in operation["responses"].values():
            problems = answer.get("content", {}).get("application/problem+json", {}).get("examples", {})
            assert all(f"`{kind}`: {PROBLEM_TYPES[kind].meaning}" in answer["description"] for kind in problems)


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        (SCHEMAS["Order"]["properties"]["state"]["x-extensible-enum"], State),
        (SCHEMAS["Finding"]["properties"]["kind"]["x-extensible-enum"], ProblemKind),
        (SCHEMAS["Payment"]["properties"]["status"]["x-extensible-enum"], Status),
        (SCHEMAS["Event"]["properties"]["type"]["x-extensible-enum"], EVENT_TYPES),
        (SCHEMAS["NotYet"]["properties"]["reason"]["x-extensible-enum"], completion.Unsettled),
    ],
)
def test_the_words_are_the_codes(listed: list[str], words: Any) -> None:
    """Each list of words in the document equals the code's."""
    assert listed == list(words)


def closed_lists(schema: Any, at: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield where a schema refuses words that are not in a list, or texts that are not of a form that may grow."""
    if isinstance(schema, dict):
        if (name := schema.get("$ref")) is not None:
            if name not in seen:
                yield from closed_lists(resolve(schema), name, seen | {name})
            return
        if "enum" in schema or "|" in str(schema.get("pattern", "")):
            yield at
        for key, part in schema.items():
            yield from closed_lists(part, f"{at}/{key}", seen)
    elif isinstance(schema, list):
        for part in schema:
            yield from closed_lists(part, at, seen)


def answer_schemas() -> Iterator[tuple[str, Any]]:
    for method, path, operation in operations():
        for status, answer in operation["responses"].items():
            for media in resolve(answer).get("content", {}).values():
                yield f"{method} {path} {status}", media.get("schema", {})


def test_no_list_of_words_in_an_answer_is_closed() -> None:
    """A client generated from the document takes a state, kind, reason or problem type that it does not know."""
    assert [at for name, schema in answer_schemas() for at in closed_lists(schema, name)] == []


@pytest.mark.parametrize(
    ("name", "example"),
    [
        ("Order", {"state": "disputed", "closed": "archived", "problems": [{"kind": "fraud", "imp_uid": "imp_1"}]}),
        ("Order", {"prepared": "expired"}),
        ("NotYet", {"merchant_uid": "order-1", "reason": "bank-closed", "read_on": None}),
        ("Problem", {"type": "urn:portone-orders:problem:new", "title": "New", "status": 422, "detail": "New."}),
        ("Payment", {"status": "authorized"}),
        ("Completed", {"merchant_uid": "order-1", "state": "disputed"}),
    ],
)
def test_a_word_that_is_new_is_valid(name: str, example: dict[str, Any]) -> None:
    """Every answer with a new word agrees with the document of today."""
    check({**SCHEMAS[name], "required": []}, example)


def test_every_open_list_says_that_it_may_grow() -> None:
    """Each list of today's words stands beside a sentence for readers, unless it names the databases' conditions."""
    texts = [part for name, part in _parts(SCHEMAS) if name != "Readiness" and "x-extensible-enum" in part]
    assert len(texts) >= 8
    assert [part for part in texts if "may grow" not in part.get("description", "")] == []


def _parts(schemas: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, schema in schemas.items():
        nodes = [schema]
        while nodes:
            node = nodes.pop()
            if isinstance(node, dict):
                yield name, node
                nodes.extend(node.values())
            elif isinstance(node, list):
                nodes.extend(node)


def test_every_operation_is_secured_or_says_that_it_is_not() -> None:
    """Orders and metrics need a service key with a scope, and every other operation is public."""
    for _, path, operation in operations():
        keyed = path.startswith(("/orders", "/events", "/healthz/", "/metrics"))
        scopes = [scope for security in operation["security"] for scope in security.get("serviceKey", ())]
        assert len(scopes) == (1 if keyed else 0), path
        with_token = operation["operationId"] == "readCheckout"
        assert ({"checkoutToken": []} in operation["security"]) == with_token


def test_the_scopes_are_the_keys() -> None:
    """An endpoint can declare each scope that a key can have, but for the one that opens the console."""
    assert {*get_args(ScopeName), Scope.ADMIN} == set(Scope)


def test_examples_agree_with_their_schemas() -> None:
    """Every example of a body or parameter matches its schema."""
    for _, _, operation in operations():
        for media in contents(operation):
            for example in media.get("examples", {}).values():
                check(media["schema"], resolve(example)["value"])
        for parameter in map(resolve, operation.get("parameters", ())):
            if "example" in parameter:
                check(parameter["schema"], parameter["example"])


def test_problem_examples_name_themselves() -> None:
    """A problem's example is named by its kind, and has the status of its answer."""
    for _, _, operation in operations():
        for status, answer in operation["responses"].items():
            for media in resolve(answer).get("content", {}).values():
                for name, example in media.get("examples", {}).items():
                    value = resolve(example)["value"]
                    if "type" in value:
                        assert (value["type"], value["status"]) == (URN + name, int(status))


async def test_the_document_is_served(settings: Settings) -> None:
    """GET /openapi.json answers with the document itself."""
    async with running_receiver(settings) as receiver, receiver.session.get(f"{receiver.url}/openapi.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert await answer.json() == SPEC


async def test_an_endpoint_with_a_scope_refuses_whoever_has_no_key(settings: Settings) -> None:
    """Every endpoint that the document secures answers 401 without a key, before it reads anything else."""
    async with running_receiver(settings) as receiver:
        for method, path, operation in operations():
            if operation["security"]:
                status, problem = await receiver.call(method.upper(), re.sub(r"\{\w+\}", "order-1", path))
                kind = "service-key" if "serviceKey" in operation["security"][0] else "checkout-token"
                assert (status, problem["type"]) == (401, URN + kind), (method, path)


TOKEN = bearer(checkout_token.issue(b"a secret of the tests, long enough", "order-1", 2_000_000_000))
ACCEPTANCE = {"imp_uid": "imp_1", "who": "kim", "why": "as agreed"}

CALLS: list[tuple[str, str, dict[str, Any], int]] = [
    ("POST", "/orders", {"json": {"merchant_uid": "order-2", "amount": 64900}, "headers": bearer()}, 201),
    ("POST", "/orders", {"json": {"merchant_uid": "order-2", "amount": 64900}, "headers": bearer()}, 200),
    ("POST", "/orders", {"json": {"merchant_uid": "order-2", "amount": 1}, "headers": bearer()}, 409),
    ("POST", "/orders", {"json": {"merchant_uid": "order-2", "amount": 0}, "headers": bearer()}, 400),
    ("POST", "/orders", {"data": "{}", "headers": {**bearer(), "Content-Type": "text/plain"}}, 415),
    ("POST", "/orders", {"json": {}}, 401),
    ("POST", "/orders", {"data": b" " * 70_000, "headers": {**bearer(), "Content-Type": "application/json"}}, 413),
    ("POST", "/orders:batch", {"json": {"orders": [{"merchant_uid": "order-2"}]}, "headers": bearer()}, 200),
    ("POST", "/orders:batch", {"json": {"orders": [{"merchant_uid": "b", "amount": 1}]}, "headers": bearer()}, 200),
    ("POST", "/orders:batch", {"json": {"orders": []}, "headers": bearer()}, 400),
    ("GET", "/orders/order-1", {"headers": bearer()}, 200),
    ("GET", "/orders/order-9", {"headers": bearer()}, 404),
    ("GET", "/orders/order-1", {}, 401),
    ("GET", "/orders/order-1", {"headers": {**bearer(), "If-None-Match": "*"}}, 304),
    ("GET", "/orders?limit=1", {"headers": bearer()}, 200),
    ("GET", "/orders?limit=0", {"headers": bearer()}, 400),
    ("GET", "/orders/order-1/history", {"headers": bearer()}, 200),
    ("GET", "/orders/order-9/history", {"headers": bearer()}, 404),
    ("PATCH", "/orders/order-2", {"json": {"amount": 100}, "headers": {**bearer(), "If-Match": '"1"'}}, 200),
    ("PATCH", "/orders/order-2", {"json": {"amount": 200}, "headers": {**bearer(), "If-Match": '"1"'}}, 412),
    ("PATCH", "/orders/order-2", {"json": {"amount": 200}, "headers": {**bearer(), "If-Match": "1"}}, 400),
    ("PATCH", "/orders/order-2", {"json": {"amount": 200}, "headers": bearer()}, 428),
    ("PATCH", "/orders/order-9", {"json": {}, "headers": {**bearer(), "If-Match": "*"}}, 404),
    ("POST", "/orders/order-2/withdraw", {"headers": bearer() | PATIENT}, 200),
    ("PATCH", "/orders/order-2", {"json": {"amount": 200}, "headers": {**bearer(), "If-Match": "*"}}, 409),
    ("POST", "/payments/confirm", {"json": {"imp_uid": "imp_3", "merchant_uid": "order-2", "amount": 100}}, 409),
    ("POST", "/payments/confirm", {"json": {"imp_uid": "imp_3", "merchant_uid": "order-3", "amount": 100}}, 200),
    ("POST", "/payments/confirm", {"data": {"imp_uid": "imp_3", "merchant_uid": "order-9", "amount": "1"}}, 409),
    ("POST", "/payments/confirm", {"json": {}}, 400),
    ("POST", "/webhooks/portone/v1", {"json": {"imp_uid": "imp_1", "status": "paid"}}, 200),
    ("POST", "/webhooks/portone/v1", {"data": {"imp_uid": "imp_1"}}, 200),
    ("POST", "/webhooks/portone/v1", {"json": {}}, 400),
    ("POST", "/webhooks/portone/v1/abc", {"json": {"imp_uid": "imp_1"}}, 200),
    ("POST", "/payment/complete", {"json": {"imp_uid": "imp_1", "merchant_uid": "order-1"}}, 200),
    ("POST", "/payment/complete", {"json": {"imp_uid": "imp_1", "merchant_uid": "order-2"}}, 400),
    ("POST", "/payment/complete", {"json": {"imp_uid": "imp_2"}, "headers": {"Prefer": "wait=0"}}, 202),
    ("POST", "/orders/order-1/accept", {"json": ACCEPTANCE, "headers": bearer()}, 200),
    ("POST", "/orders/order-2/accept", {"json": ACCEPTANCE, "headers": bearer()}, 409),
    ("POST", "/orders/order-1/withdraw", {"headers": bearer()}, 409),
    ("POST", "/orders/order-1/verify", {"headers": bearer() | PATIENT}, 200),
    ("POST", "/orders/order-1/verify", {"headers": {**bearer(), "Prefer": "wait=0"}}, 202),
    ("POST", "/orders/order-9/verify", {"headers": bearer()}, 404),
    ("GET", "/events", {"headers": bearer()}, 200),
    ("GET", "/events", {"headers": bearer(), "params": {"after": "then"}}, 400),
    ("GET", "/events", {}, 401),
    ("GET", "/events/stream", {}, 401),
    ("OPTIONS", "/payment/complete", {}, 204),
    ("OPTIONS", "/checkout/order-1", {}, 204),
    ("GET", "/checkout/order-1", {}, 401),
    ("GET", "/checkout/order-1", {"headers": TOKEN}, 200),
    ("GET", "/checkout/order-1", {"headers": {**TOKEN, "If-None-Match": "*"}}, 304),
    ("GET", "/payment-redirect", {"params": {"imp_uid": "imp_1", "merchant_uid": "order-1"}}, 303),
    ("GET", "/payment-redirect", {}, 303),
    ("POST", "/payment/complete", {"json": {"merchant_uid": "order-1"}}, 200),
    ("POST", "/payment/complete", {"json": {"merchant_uid": "order-9"}}, 400),
    ("GET", "/healthz", {}, 200),
    ("GET", "/readyz", {}, 200),
    ("GET", "/healthz/promise", {"headers": bearer()}, 200),
    ("GET", "/healthz/promise", {}, 401),
    ("GET", "/metrics", {"headers": bearer()}, 200),
    ("GET", "/openapi.json", {}, 200),
    ("GET", "/docs", {}, 200),
    ("GET", "/docs/start.js", {}, 200),
    ("GET", "/docs/keys.js", {}, 404),
]


def test_every_operation_is_called() -> None:
    """The calls below try every operation of the document, so that a new one is held to its models too."""
    tried = {operation_of(method, path)["operationId"] for method, path, _, _ in CALLS}
    webhooks = {"receiveAccountWebhook", "receiveAccountTierWebhook"}  # the same handler and declaration
    assert {operation["operationId"] for _, _, operation in operations()} - tried <= webhooks


async def test_answers_are_as_described(settings: Settings, sandbox: RunningSandbox) -> None:
    """Real answers of the receiver have a described status and media type, and only described keys."""
    with_return_url = settings.model_copy(update={"return_url": "https://shop.example/done"})
    async with running_receiver(with_return_url) as receiver, running_worker(with_return_url):
        await receiver.register("order-1")
        await receiver.register("order-3", 100)
        await sandbox.pay("order-1", 64900, imp_uid="imp_1")
        await sandbox.open("order-3", 100, imp_uid="imp_2")  # a window that stays open is 202, looked at or not
        for method, path, options, status in CALLS:
            call = receiver.session.request(method, receiver.url + path, allow_redirects=False, **options)
            async with call as answer:
                assert answer.status == status, (method, path, await answer.text())
                described = resolve(operation_of(method, path)["responses"][str(status)])
                headers = {name: resolve(header) for name, header in described.get("headers", {}).items()}
                assert all(name in answer.headers for name, header in headers.items() if header["required"])
                if "content" in described:
                    schema = media_type(described["content"], answer.content_type)["schema"]
                    content = await (answer.json(content_type=None) if "json" in answer.content_type else answer.text())
                    check(schema, content)
                    assert (
                        not isinstance(content, dict) or not properties(schema) or content.keys() <= properties(schema)
                    )


def media_type(content: dict[str, Any], name: str) -> Any:
    """Return the media type of this name, or the range that has it."""
    return content.get(name) or content[f"{name.partition('/')[0]}/*"]


def operation_of(method: str, path: str) -> dict[str, Any]:
    for name, template, operation in operations():
        if name == method.lower() and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path.partition("?")[0]):
            return operation
    raise AssertionError(f"{method} {path} is not described")
