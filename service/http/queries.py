"""Read an address's parameters as a model describes them. They are bounded, and refused in one clear sentence."""

from types import NoneType
from typing import Annotated, ClassVar, TypeVar, get_args

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

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
        return tuple(_parameter(name, field, repeated=name in cls.several) for name, field in cls.model_fields.items())


AQuery = TypeVar("AQuery", bound=Query)


def read_query(request: web.Request, model: type[AQuery]) -> AQuery:
    """Read the address's parameters. Raises HttpProblem."""
    query = request.query
    for name in query:
        if len(query.getall(name)) > 1 and name in model.model_fields and name not in model.several:
            raise HttpProblem(400, "invalid-parameters", f"Correct these parameters: {name}: give it once.")
    given = {name: _value(query.getall(name), several=name in model.several) for name in query}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(sentence(detail) for detail in error.errors(include_input=False, include_url=False))
        raise HttpProblem(400, "invalid-parameters", f"Correct these parameters: {wrong}.") from None


def _value(texts: list[str], *, several: bool) -> object:
    return texts[0] if len(texts) == 1 and not several else texts


def _parameter(name: str, field: FieldInfo, *, repeated: bool) -> Parameter:
    description = _description(name, field, repeated=repeated)
    kind = _type(field.annotation, field.metadata)
    return Parameter(name, "query", kind, description, problems=("invalid-parameters",))


def _description(name: str, field: FieldInfo, *, repeated: bool) -> str:
    """Return what a parameter means, whether it may be repeated, and its default, which the schemas name nowhere."""
    sentences = [field.description or ""]
    if repeated:
        sentences.append(f"Repeat `{name}` for several.")
    if not field.is_required() and field.default is not None:
        sentences.append(f"Left out, it is `{field.default:g}`.")
    return " ".join(sentences)


def _type(annotation: object, metadata: list[object]) -> object:
    """Return what a parameter is where it is given: None only says that it may be left out."""
    members = [member for member in get_args(annotation) if member is not NoneType]
    if NoneType in get_args(annotation) and len(members) == 1:
        return members[0]
    return Annotated[(annotation, *metadata)] if metadata else annotation
