"""docker-compose.yml is valid, complete, and agrees with the program whose image it runs."""

import json
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from arq.connections import ArqRedis
from jsonschema import Draft7Validator
from typer.testing import CliRunner

from cli.embedded.redis_server import choose_server
from cli.main import app
from cli.processes import Process, Program
from cli.sandbox import sandbox
from sandbox.__main__ import _read_options
from sandbox.app import create_app as create_sandbox
from sandbox.config import SandboxConfig
from service.http.app import create_app
from service.redis.bounds import REDIS_AWAY
from service.redis.durability import read_durability
from service.redis.queue import connect
from service.settings import Settings
from tests.compose.compose_file import EXAMPLE, REPOSITORY, REQUIRED, VALUES, VARIABLES, Missing, environment, read
from tests.ports import own_port

COMPOSE = read()
SERVICES: dict[str, Any] = COMPOSE["services"]
OWN_SERVICES = {name for name, service in SERVICES.items() if service["image"] == "portone-orders"}
# Settings that nobody who runs containers chooses.
# No pooler stands before the file's Postgres, so its DATABASE_URL is the direct one.
FIXED = {"DIRECT_DATABASE_URL", "PORT", "SANDBOX_PORT", "STATE_DIR", "TIME_SCALE"}


def test_it_is_a_compose_file() -> None:
    """It validates against the Compose Specification's own schema (Apache-2.0, compose-spec/compose-spec)."""
    schema = json.loads(Path(__file__).with_name("compose-spec.json").read_text("utf-8"))
    Draft7Validator(schema).validate(COMPOSE)


def test_its_parts() -> None:
    """It has both databases, the migrations, the receiver, the worker, and as profiles the sandbox and telemetry."""
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {"sandbox": ["sandbox"], "prometheus": ["telemetry"], "grafana": ["telemetry"]}
    assert SERVICES.keys() - profiles == {"postgres", "redis", "migrate", "receiver", "worker"}


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_missing_secret_is_one_clear_sentence(name: str) -> None:
    """Without a required secret nothing starts, and a sentence names it and says where to set it."""
    with pytest.raises(Missing, match=f"^Set {name} in .env to "):
        read({key: value for key, value in VALUES.items() if key != name})


def test_all_secrets_are_required() -> None:
    """Every password and key must be set, because none has a default or is in the file."""
    assert VALUES.keys() == REQUIRED


@pytest.mark.parametrize("name", sorted(OWN_SERVICES))
def test_every_command_is_a_command(name: str) -> None:
    """Each container runs a command of `portone-orders`, with options that it knows."""
    command, *options = SERVICES[name]["command"]
    if command == "sandbox":
        assert options.pop(0) in {
            registered.callback.__name__ for registered in sandbox.registered_commands if registered.callback
        }
        assert _read_options(options).webhook_url == "http://receiver:8080/webhooks/portone/v1"
    else:
        assert CliRunner().invoke(app, [command, *options, "--help"]).exit_code == 0
        assert command in {
            registered.callback.__name__ for registered in app.registered_commands if registered.callback
        }


@pytest.mark.parametrize("name", sorted(OWN_SERVICES))
def test_every_variable_is_a_setting(name: str) -> None:
    """A container gets no variable that the program does not read."""
    assert {variable.lower() for variable in SERVICES[name].get("environment", {})} <= Settings.model_fields.keys()


def test_every_setting_can_be_set() -> None:
    """Each setting that matters in containers reaches the receiver or the worker."""
    passed = {name for service in ("receiver", "worker") for name in SERVICES[service]["environment"]}
    missing = {name.upper() for name in Settings.model_fields} - FIXED - passed
    assert not missing, "pass these on in docker-compose.yml, or add them to FIXED"


def test_each_process_is_given_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver starts without PortOne's secret, and the worker has it but no service key."""
    receiver, worker = environment("receiver"), environment("worker")
    assert not {"PORTONE_IMP_KEY", "PORTONE_IMP_SECRET"} & receiver.keys()
    assert "SERVICE_KEYS" not in worker
    with monkeypatch.context() as patch:
        for name, value in receiver.items():
            patch.setenv(name, value)
        create_app(Settings.load(_env_file=None))
    for name, value in worker.items():
        monkeypatch.setenv(name, value)
    Settings.load(_env_file=None).require("database_url", "redis_url", "portone_imp_key", "portone_imp_secret")


def test_a_setting_is_passed_on_or_left_to_its_default() -> None:
    """A variable that is not in .env is not passed to the container, so the program's default counts."""
    assert "RETURN_URL" not in environment("receiver")
    values = VALUES | {"RETURN_URL": "https://shop.example/done"}
    assert environment("receiver", values)["RETURN_URL"] == "https://shop.example/done"


def test_restart_policies_and_health() -> None:
    """All services but the migration are restarted, and all with a port have a health check."""
    assert {name for name, service in SERVICES.items() if service["restart"] == "no"} == {"migrate"}
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == {"migrate", "worker"}


def test_who_waits_waits_for_something_that_tells() -> None:
    """Each condition of `depends_on` can become true, because the other service has a health check or an end."""
    for service in SERVICES.values():
        for other, dependency in service.get("depends_on", {}).items():
            if dependency["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
            else:
                assert (dependency["condition"], other) == ("service_completed_successfully", "migrate")


def test_health_checks_ask_addresses_that_exist() -> None:
    """The health checks of receiver and sandbox use a route and the port on which these listen."""
    settings = Settings(_env_file=None, database_url="postgresql://db/o", redis_url="redis://cache")
    ports = {"receiver": settings.port, "sandbox": settings.sandbox_port}
    apps = {"receiver": create_app(settings), "sandbox": create_sandbox(SandboxConfig())}
    for name, application in apps.items():
        address = re.search(r"127\.0\.0\.1:(\d+)(/\w+)", SERVICES[name]["healthcheck"]["test"][-1])
        assert address
        assert int(address[1]) == ports[name]
        assert address[2] in {route.resource.canonical for route in application.router.routes() if route.resource}


def test_nothing_is_open_to_the_world() -> None:
    """Ports are published on loopback, and the databases have none and are only on the internal network."""
    assert COMPOSE["networks"]["stores"]["internal"] is True
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        if name in ("postgres", "redis"):
            assert "ports" not in service
            assert service["networks"] == ["stores"]


def test_prometheus_and_grafana_find_what_they_read() -> None:
    """Each file that they are given exists, and Prometheus asks receivers and workers where their metrics are."""
    for name in ("prometheus", "grafana"):
        for source in (mount.split(":")[0] for mount in SERVICES[name]["volumes"] if mount.startswith("./")):
            assert (REPOSITORY / source).exists()
    config = yaml.safe_load((REPOSITORY / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8"))
    places = [job["dns_sd_configs"][0] for job in config["scrape_configs"]]
    assert {(name, place["port"]) for place in places for name in place["names"]} == {
        (name, SERVICES[name]["environment"]["METRICS_PORT"]) for name in ("receiver", "worker")
    }
    assert all("telemetry" in SERVICES[name]["networks"] for name in ("receiver", "worker", "prometheus", "grafana"))
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert any(mount.split(":")[1] == home for mount in SERVICES["grafana"]["volumes"])


def test_our_containers_may_do_little() -> None:
    """Our containers are read-only, have no capabilities, and cannot gain any."""
    for name in OWN_SERVICES:
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


async def test_the_redis_keeps_what_it_accepts(tmp_path: Path) -> None:
    """A real server with this configuration may accept notices while Postgres is away."""
    port, config = own_port(), tmp_path / "redis.conf"
    content = COMPOSE["configs"]["redis"]["content"].replace("dir /data", f"dir {tmp_path}")
    config.write_text(f"{content}bind 127.0.0.1\nport {port}\n", "utf-8")
    process = Process(
        Program(
            "Redis",
            (str(choose_server(tmp_path, embedded=True)), str(config)),
            tmp_path / "log",
            dict(os.environ),
            tmp_path,
        )
    )
    redis = connect(f"redis://:{VALUES['REDIS_PASSWORD']}@127.0.0.1:{port}/0")
    process.start()
    try:
        await process.wait_ready(partial(_answers, redis), 30)
        assert (await read_durability(redis)).weaknesses == []
    finally:
        await redis.aclose(close_connection_pool=True)
        await process.stop()


async def _answers(redis: ArqRedis) -> bool:
    try:
        return bool(await redis.ping())
    except REDIS_AWAY:
        return False


def test_the_example_names_what_is_needed_and_nothing_unknown() -> None:
    """.env.example has every required variable to fill in, and no unknown name."""
    names = set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    assert set(re.findall(r"^([A-Z_]+)=$", EXAMPLE, re.MULTILINE)) == REQUIRED
    assert {name for name in names if name.lower() not in Settings.model_fields} <= VARIABLES
