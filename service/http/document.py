"""The OpenAPI 3.1 document, made from the endpoints' declarations and their pydantic models."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import orjson
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from service.http.endpoints import RETRY_AFTER, Body, Endpoint, Header, HttpAnswer, Parameter
from service.http.field_types import open_words
from service.http.problem_types import PROBLEM_TYPES, RETRIED, TYPE, ProblemType

_DESCRIPTION = """\
Amounts are integers in the currency's smallest unit: KRW 64900 is 64,900 won, USD 600 is $6.00.

An error is an RFC 9457 problem document. Its `type` is stable: decide by it, never by `detail`, which is a sentence \
for people. Any address may also answer 404 `not-found`, 405 `method-not-allowed`, or, where HTTP itself was misused, \
`bad-request` or 417 `unknown-expectation`.

New fields, states, kinds, reasons and problem types may be added: ignore what you do not know. Where an answer has \
one of several words, `x-extensible-enum` lists today's. Only requests have closed lists. Where a body has a field \
twice, the last one counts.
"""
_TAGS = {
    "orders": "For the shop's own services, with a service key.",
    "events": "For the shop's own services that follow orders, with a service key.",
    "notices": "For PortOne.",
    "browsers": "For the shop's pages. Without a service key, so they learn only the state of their order.",
    "health": "For whoever runs this.",
}
_SERVICE_KEY = (
    "One of SERVICE_KEYS, which may do everything, or a key of `portone-orders keys create` that has the scope:"
    " `orders:read`, `orders:write`, `events:read`, or `metrics` for the promise and the metrics. Without any key"
    " nobody gets in."
)
_SCHEMAS = "#/components/schemas/"
_WWW_AUTHENTICATE = Header("WWW-Authenticate", "What is missing (RFC 6750 §3).", "^Bearer", example="Bearer")
_CHALLENGES: dict[int, tuple[Header, ...]] = dict.fromkeys((401, 403), (_WWW_AUTHENTICATE,))
_PROBLEM_MEDIA_TYPE = "application/problem+json"


class ProblemAnswer(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = open_words(
        (TYPE + kind for kind in PROBLEM_TYPES), "Decide by the HTTP status where a type is new to you."
    )
    title: str
    status: int
    detail: str


class _Schemas(GenerateJsonSchema):
    """Pydantic's schemas without a title for each field, and with its default as a sentence.

    Generators of clients make a field that has a `default` one that must be given.
    """

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        default = described.pop("default", None)
        if default is not None:
            sentence = f"Left out, it is `{orjson.dumps(default).decode()}`."
            described["description"] = f"{described.get('description', '')} {sentence}".strip()
        return described


def build(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Make the document of these endpoints."""
    endpoints = tuple(endpoints)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "portone-orders",
            "version": version("portone-orders"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "summary": "Turns PortOne payment notices into verified order state.",
            "description": _DESCRIPTION,
        },
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": _paths(endpoints),
        "components": {
            "securitySchemes": {
                "serviceKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": _SERVICE_KEY,
                },
                "checkoutToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The `checkout_token` of an order's registration opens the state of that order.",
                },
            },
            "examples": {kind: {"value": _problem(kind, problem)} for kind, problem in PROBLEM_TYPES.items()},
            "schemas": _schemas(endpoints),
        },
    }


def _schemas(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    modes: dict[type[BaseModel], JsonSchemaMode] = {ProblemAnswer: "serialization"}
    for endpoint in endpoints:
        if endpoint.body:
            modes[endpoint.body.model] = "validation"
        modes.update({answer.model: "serialization" for answer in endpoint.answers.values() if _is_model(answer.model)})
    _, schemas = models_json_schema(list(modes.items()), schema_generator=_Schemas, ref_template=_SCHEMAS + "{model}")
    return {_name(name): _renamed(schema) for name, schema in schemas["$defs"].items()}


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _name(model: str) -> str:
    """Return a model's name as callers read it: an `OrderAnswer` is an `Order` to them."""
    return model.removesuffix("Answer")


def _renamed(schema: Any) -> Any:
    match schema:
        case {"$ref": ref}:
            return {**schema, "$ref": _name(ref)}
        case dict():
            named = {"title": _name(schema["title"])} if isinstance(schema.get("title"), str) else {}
            return {key: _renamed(part) for key, part in schema.items()} | named
        case list():
            return [_renamed(part) for part in schema]
        case _:
            return schema


def _paths(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return paths


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    return _without_empty(
        {
            "tags": [endpoint.tag],
            "operationId": endpoint.id,
            "summary": endpoint.summary,
            "description": endpoint.description,
            "parameters": [_parameter(parameter) for parameter in endpoint.all_parameters],
            "requestBody": _body(endpoint.body) if endpoint.body else None,
            "responses": _responses(endpoint),
        }
    ) | {"security": _security(endpoint)}


def _security(endpoint: Endpoint) -> list[dict[str, list[str]]]:
    if endpoint.checkout_token:
        return [{"checkoutToken": []}]
    return [{"serviceKey": [endpoint.scope]}] if endpoint.scope else []


def _without_empty(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in parts.items() if part not in (None, "", [], {})}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return _without_empty(
        {
            "name": parameter.name,
            "in": parameter.place,
            "required": parameter.required,
            "description": parameter.description,
            "schema": _schema(parameter.type),
            "example": parameter.example,
        }
    )


def _schema(annotation: Any) -> dict[str, Any]:
    """Return the schema of an annotation: a reference if it is a model."""
    if _is_model(annotation):
        return {"$ref": _SCHEMAS + _name(annotation.__name__)}
    return TypeAdapter(annotation).json_schema(schema_generator=_Schemas)


def _body(body: Body) -> dict[str, Any]:
    content = _content(body.model, body.examples)
    return {"required": body.required, "content": dict.fromkeys(body.media_types, content)}


def _content(annotation: Any, examples: Mapping[str, Any]) -> dict[str, Any]:
    return _without_empty(
        {"schema": _schema(annotation), "examples": {name: {"value": value} for name, value in examples.items()}}
    )


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    """Return the answers by status. Where an answer and problems share one, it has a media type for each."""
    responses = {str(status): _answer(answer) for status, answer in endpoint.answers.items()}
    kinds: dict[int, set[str]] = {}
    for kind in endpoint.all_problems:
        kinds.setdefault(PROBLEM_TYPES[kind].status, set()).add(kind)
    for status, of_status in kinds.items():
        problems = _problems(status, sorted(of_status))
        answer = responses.setdefault(str(status), problems)
        if answer is not problems:
            answer["description"] += f" Or a problem: {problems['description']}"
            answer.setdefault("content", {}).update(problems["content"])
    return dict(sorted(responses.items()))


def _answer(answer: HttpAnswer) -> dict[str, Any]:
    content = {} if answer.model is None else {answer.media_type: _content(answer.model, answer.examples)}
    return {
        "description": answer.description,
        **_without_empty({"headers": {header.name: _header(header) for header in answer.headers}, "content": content}),
    }


def _header(header: Header) -> dict[str, Any]:
    schema = {"type": "string"} | ({"pattern": header.pattern} if header.pattern else {})
    return _without_empty(
        {
            "description": header.description,
            "required": header.required,
            "schema": schema,
            "example": header.example,
        }
    )


def _problems(status: int, kinds: list[str]) -> dict[str, Any]:
    content = {
        "schema": _schema(ProblemAnswer),
        "examples": {kind: {"$ref": f"#/components/examples/{kind}"} for kind in kinds},
    }
    headers = {**_CHALLENGES, **dict.fromkeys(RETRIED, (RETRY_AFTER,))}.get(status, ())
    return {
        "description": "\n".join(f"- `{kind}`: {PROBLEM_TYPES[kind].meaning}" for kind in kinds),
        **_without_empty({"headers": {header.name: _header(header) for header in headers}}),
        "content": {_PROBLEM_MEDIA_TYPE: content},
    }


def _problem(kind: str, problem: ProblemType) -> dict[str, Any]:
    """Return an example of a problem document, as `service/http/problems.py` sends it."""
    title = HTTPStatus(problem.status).phrase
    return {"type": TYPE + kind, "title": title, "status": problem.status, "detail": problem.detail}
