"""Check that each endpoint gets its webhooks. One that a person disabled is left out."""

from cli.checks.databases import ask_postgres
from cli.endpoint_lines import state
from service.db import endpoints
from service.db.endpoints import WebhookEndpoint
from service.domain.delivery import Disabled, is_down
from service.settings import Settings

# Longer than a restart of the receiving service.
_LATE_SECONDS = 300.0


async def check_endpoints(settings: Settings) -> list[str]:
    """Return a sentence for each endpoint that is down, was disabled for it, or is far behind."""
    every = await ask_postgres(settings, endpoints.read)
    return [f"{endpoint.name} {fault}" for endpoint in every if (fault := _fault(endpoint))]


def _fault(endpoint: WebhookEndpoint) -> str:
    if endpoint.disabled_why == Disabled.OPERATOR:
        return ""
    if endpoint.disabled_at:
        return f"is {state(endpoint)}. Correct it, then run `portone-orders endpoints enable {endpoint.name}`."
    see = f"see `portone-orders endpoints show {endpoint.name} --failed`."
    if is_down(endpoint.failures):
        return f"is {state(endpoint)}: {see}"
    if (endpoint.behind_seconds or 0) > _LATE_SECONDS:
        return f"has not got an event that is {endpoint.behind_seconds:.0f} s old: {see}"
    return ""
