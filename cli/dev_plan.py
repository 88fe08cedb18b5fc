"""Plan a run of `dev`: which parts it starts, which were given, and the addresses and keys that follow."""

import json
import os
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from cli.addresses import reachable_host, receiver_url, sandbox_url, shop_pages
from cli.ports import remembered_port
from cli.processes import Program
from cli.state import StateDir
from service.settings import Settings

# What they have if nobody else does.
_METRICS_PORTS = {"receiver": 9464, "worker": 9465}


@dataclass(frozen=True)
class Plan:
    """Everything that is known before the databases run."""

    settings: Settings
    state: StateDir

    @property
    def has_sandbox(self) -> bool:
        """True unless a PortOne was given. The sandbox's own address, from our env file, does not count."""
        url = "portone_api_url" in self.settings.model_fields_set and self.settings.portone_api_url
        return not url or self.settings.portone_imp_key == self.imp_key

    @property
    def ignores_key(self) -> bool:
        """True if a key of PortOne was given but the sandbox plays PortOne, so that the key opens nothing."""
        key = self.settings.portone_imp_key
        return self.has_sandbox and bool(key) and key != self.imp_key

    @property
    def host(self) -> str:
        """The host at which this machine reaches the receiver."""
        return reachable_host(self.settings)

    @property
    def base_url(self) -> str:
        return receiver_url(self.settings)

    @property
    def sandbox_url(self) -> str:
        return sandbox_url(self.settings)

    @property
    def shop_url(self) -> str:
        """The shop in the sandbox, where a payment can be tried in a browser."""
        return f"{self.sandbox_url}/shop"

    @property
    def imp_key(self) -> str:
        """The sandbox's API key."""
        return self.state.secret("sandbox_imp_key")

    @property
    def imp_secret(self) -> str:
        """The sandbox's API secret."""
        return self.state.secret("sandbox_imp_secret")

    @property
    def service_key(self) -> str:
        keys = self.settings.service_keys
        return keys[0].get_secret_value() if keys else self.state.secret("service_key")

    def portone(self) -> dict[str, str]:
        """Return PortOne's settings if PortOne is the sandbox. Real secrets are not passed on."""
        if not self.has_sandbox:
            return {}
        return {
            "PORTONE_API_URL": self.sandbox_url,
            "PORTONE_IMP_KEY": self.imp_key,
            "PORTONE_IMP_SECRET": self.imp_secret,
            **({"PORTONE_ACCOUNTS": self._accounts()} if self.settings.portone_accounts else {}),
        }

    def _accounts(self) -> str:
        """Return the accounts with their names and tiers, but with the sandbox's keys and address."""
        accounts = self.settings.portone_accounts.items()
        return json.dumps(
            {
                name: {"imp_key": f"{self.imp_key}-{name}", "imp_secret": self.imp_secret, "tiers": account.tiers}
                for name, account in accounts
            }
        )

    def sandbox(self) -> Program:
        argv = ["--host", "127.0.0.1", "--port", str(self.settings.sandbox_port)]
        argv += ["--webhook-url", f"{self.base_url}/webhooks/portone/v1"]
        argv += ["--state", str(self.state.path / "sandbox.json")]
        accounts = [f"{name}:{self.imp_key}-{name}:{self.imp_secret}" for name in self.settings.portone_accounts]
        env = {"SANDBOX_IMP_KEY": self.imp_key, "SANDBOX_IMP_SECRET": self.imp_secret}
        env |= {"SANDBOX_ACCOUNTS": ",".join(accounts)}
        env |= {"SANDBOX_SERVICE_URL": self.base_url, "SANDBOX_SERVICE_KEY": self.service_key}
        return self._python("sandbox", ["-m", "sandbox", *argv], env)

    def service_program(self, name: str, command: str, databases: dict[str, str]) -> Program:
        """Return the program that runs `portone-orders serve` or `worker` on these databases."""
        keys = [key.get_secret_value() for key in self.settings.service_keys] or [self.service_key]
        env = databases | self.portone() | self._pages() | {"SERVICE_KEYS": ",".join(keys)} | self._checkout()
        env |= {"METRICS_PORT": str(self.metrics_ports[name])}
        return self._python(name, ["-m", "cli.main", command], env)

    @cached_property
    def metrics_ports(self) -> dict[str, int]:
        """The ports of the receiver's and the worker's metrics, drawn once; METRICS_PORT gives the receiver's."""
        given = {"receiver": self.settings.metrics_port}
        return {
            name: given.get(name) or remembered_port(self.state.path / f"{name}.metrics-port", port)
            for name, port in _METRICS_PORTS.items()
        }

    @property
    def metrics_urls(self) -> list[str]:
        """The addresses of the receiver's and the worker's metrics."""
        return [f"http://127.0.0.1:{port}/metrics" for port in self.metrics_ports.values()]

    def _checkout(self) -> dict[str, str]:
        secrets = [secret.get_secret_value() for secret in self.settings.checkout_secrets]
        return {"CHECKOUT_SECRETS": ",".join(secrets) or self.state.secret("checkout_secret")}

    def _pages(self) -> dict[str, str]:
        return shop_pages(self.settings, self.sandbox_url) if self.has_sandbox else {}

    def env_file(self, databases: dict[str, str]) -> dict[str, str]:
        """Return the variables that other programs need to work with this run."""
        sandbox = {"SANDBOX_URL": self.sandbox_url} if self.has_sandbox else {}
        portone = {"PORTONE_API_URL": self.settings.portone_api_url} | self.portone()
        keys = {"SERVICE_KEY": self.service_key} | self._checkout()
        urls = {name: url for name, url in databases.items() if url}
        return {"BASE_URL": self.base_url} | sandbox | keys | urls | portone

    def three_lines(self) -> list[str]:
        """Return shell lines to register, pay and verify a new order. Each works when copied alone.

        The last is the page's completion call, which waits for PortOne's answer. A read might come before the look.
        """
        now = datetime.now(UTC)
        order, imp_uid = f"order-{now:%m%d-%H%M%S}", f"imp_{now:%m%d%H%M%S}"
        source = f". {shlex.quote(str(self.state.env_file))}; "
        end = "; echo"  # the answer has no line break, and the prompt would stand behind it
        key, json = '-H "Authorization: Bearer $SERVICE_KEY"', "-H 'Content-Type: application/json'"
        body = f'"merchant_uid":"{order}","amount":64900'
        register = f"{source}curl -s -X POST $BASE_URL/orders {key} {json} -d '{{{body}}}'{end}"
        if not self.has_sandbox:
            return [register, f"{source}curl -s $BASE_URL/orders/{order} {key}{end}"]
        pay = f"""-d '{{"imp_uid":"{imp_uid}",{body}}}'"""
        complete = f"""-d '{{"imp_uid":"{imp_uid}","merchant_uid":"{order}"}}'"""
        return [
            register,
            f"{source}curl -s -X POST $SANDBOX_URL/_control/pay {json} {pay}{end}",
            f"{source}curl -s -X POST $BASE_URL/payment/complete {json} {complete}{end}",
        ]

    def _python(self, name: str, argv: list[str], env: dict[str, str]) -> Program:
        inherited = {key: value for key, value in os.environ.items() if name != "sandbox" or not _is_setting(key)}
        return Program(
            name,
            (sys.executable, *argv),
            self.state.log(name),
            inherited | env,
            Path.cwd(),
            record=self.state.record(name),
        )


def _is_setting(name: str) -> bool:
    return name.lower() in Settings.model_fields
