"""Read an address's parameters as a model describes them. They are bounded, and refused in one clear sentence."""

from types import NoneType
from typing import Annotated, ClassVar, TypeVar, get_args

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from service.http.endpoints import Parameter
from service.http.order_bodies import sentence
from service.http.problems import HttpProblem


class Query(BaseModel):
    """The parameters of an address; a name that is not known is refused. `several`: those that may be repeated."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    several: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """Return the parameters as the OpenAPI document lists them."""
        return tuple(
            Parameter(
                name, "query", _type(field.annotation, field.metadata), field.description or "",
                problems=("invalid-parameters",),
            )
            for name, field in cls.model_fields.items()
        )  # fmt: skip


AQuery = TypeVar("AQuery", bound=Query)


def read_query(request: web.Request, model: type[AQuery]) -> AQuery:
    """Read the address's parameters. Raises HttpProblem."""
    query = request.query
    given = {name: _value(query.getall(name), several=name in model.several) for name in query}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(sentence(detail) for detail in error.errors(include_input=False, include_url=False))
        raise HttpProblem(400, "invalid-parameters", f"Correct these parameters: {wrong}.") from None


def _value(texts: list[str], *, several: bool) -> object:
    return texts[0] if len(texts) == 1 and not several else texts


def _type(annotation: object, metadata: list[object]) -> object:
    """Return what a parameter is where it is given: None only says that it may be left out."""
    members = [member for member in get_args(annotation) if member is not NoneType]
    if NoneType in get_args(annotation) and len(members) == 1:
        return members[0]
    return Annotated[(annotation, *metadata)] if metadata else annotation
