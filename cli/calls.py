"""Make JSON calls to a server. One sentence says if it does not run, refuses us or is the wrong one."""

from dataclasses import dataclass, field
from typing import Any

from cli.addresses import Addresses
from cli.errors import CommandFailed

_TIMEOUT_SECONDS = 30.0


class CallRefused(CommandFailed):
    """The server understood the call and refused it. The message is the server's own sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class Server:
    """A server: its URL, its name for users, how to start it, and the setting that holds its URL."""

    url: str
    name: str
    start: str
    setting: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The service key that is sent, for the client of other services."""
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    async def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the JSON object that the server answers. Raises CallRefused; CommandFailed without an answer."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(_TIMEOUT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=self.headers) as session,
                session.request(method, self.url + path, json=body, allow_redirects=False) as answer,
            ):
                return self._read(answer.status, await answer.read())
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise CommandFailed(f"{self.setting} is not an address: use one like http://127.0.0.1:8080.") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CommandFailed(
                f"{self.name} at {self.url} does not answer ({type(error).__name__}): "
                f"{self.start}, or correct {self.setting}."
            ) from error

    def _read(self, status: int, raw: bytes) -> dict[str, Any]:
        import orjson

        try:
            answer = orjson.loads(raw)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            server = f"The server at {self.url}, which answers HTTP {status},"
            raise CommandFailed(f"{server} is not {self.name.lower()}: correct {self.setting}.")
        if status == 401:
            raise key_refused(self)
        if status >= 400:
            sentence = answer.get("detail") or answer.get("error") or f"{self.name} answers {status}."
            raise CallRefused(status, str(sentence))
        return answer


def key_refused(server: Server) -> CallRefused:
    """Return the error of a call whose key the server does not know."""
    advice = "set SERVICE_KEY to one of its SERVICE_KEYS, or to a key of `portone-orders keys create`"
    return CallRefused(401, f"{server.name} at {server.url} refuses the key: {advice}.")


def service_at(addresses: Addresses) -> Server:
    """Return the running service. Without a key, its answer will ask for one."""
    start = "start it with `make run` or `portone-orders serve`"
    headers = {"Authorization": f"Bearer {addresses.service_key}"} if addresses.service_key else {}
    return Server(addresses.base_url, "The service", start, "BASE_URL", headers)


def sandbox_at(addresses: Addresses) -> Server:
    start = "start it with `make run` or `portone-orders sandbox serve`"
    return Server(addresses.sandbox_url, "The sandbox", start, "SANDBOX_URL")
