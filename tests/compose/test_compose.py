"""docker-compose.yml: valid, complete, and true of the program whose image it runs."""

import json
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis
from jsonschema import Draft7Validator
from typer.testing import CliRunner

from cli.embedded.redis import _server
from cli.main import app
from cli.processes import Process, Program
from cli.sandbox import sandbox
from sandbox.__main__ import _read_options
from sandbox.app import create_app as create_sandbox
from sandbox.config import SandboxConfig
from service.http.app import create_app
from service.redis.queue import REDIS_AWAY, connect, weaknesses
from service.settings import Settings
from tests.compose.compose_file import EXAMPLE, GIVEN, REQUIRED, VARIABLES, Missing, environment, read
from tests.ports import own_port

COMPOSE = read()
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if service["image"] == "portone-orders"}
# What nobody who runs containers has to choose.
FIXED = {"PORT", "SANDBOX_PORT", "STATE_DIR", "TIME_SCALE"}


def test_it_is_a_compose_file() -> None:
    """It validates against the Compose Specification's own schema (Apache-2.0, compose-spec/compose-spec)."""
    schema = json.loads(Path(__file__).with_name("compose-spec.json").read_text("utf-8"))
    Draft7Validator(schema).validate(COMPOSE)


def test_its_parts() -> None:
    """The stores, the migrations, the receiver, the worker, and the sandbox as a profile."""
    assert SERVICES.keys() == {"postgres", "redis", "migrate", "receiver", "worker", "sandbox"}
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["sandbox"]


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_missing_secret_is_one_clear_sentence(name: str) -> None:
    """Without it nothing starts, and the sentence names it and says where to set it."""
    with pytest.raises(Missing, match=f"^Set {name} in .env to "):
        read({key: value for key, value in GIVEN.items() if key != name})


def test_all_secrets_are_required() -> None:
    """No password or key has a default, and none is written in the file."""
    assert GIVEN.keys() == REQUIRED


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_command_is_a_command(name: str) -> None:
    """What a container runs is a command of `portone-orders`, with options that it knows."""
    command, *options = SERVICES[name]["command"]
    if command == "sandbox":
        assert options.pop(0) in {found.callback.__name__ for found in sandbox.registered_commands if found.callback}
        assert _read_options(options).webhook_url == "http://receiver:8080/webhooks/portone/v1"
    else:
        assert CliRunner().invoke(app, [command, *options, "--help"]).exit_code == 0
        assert command in {found.callback.__name__ for found in app.registered_commands if found.callback}


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_variable_is_a_setting(name: str) -> None:
    """A container is given nothing that the program does not read."""
    assert {variable.lower() for variable in SERVICES[name].get("environment", {})} <= Settings.model_fields.keys()


def test_every_setting_can_be_set() -> None:
    """Each setting that matters in containers reaches the receiver or the worker."""
    passed = {name for service in ("receiver", "worker") for name in SERVICES[service]["environment"]}
    missing = {name.upper() for name in Settings.model_fields} - FIXED - passed
    assert not missing, "pass these on in docker-compose.yml, or add them to FIXED"


def test_each_process_is_given_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver starts without PortOne's secret; the worker has it, and no service key."""
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
    """What is not in .env stays out of the container, so that the program's own default counts."""
    assert "RETURN_URL" not in environment("receiver")
    given = GIVEN | {"RETURN_URL": "https://shop.example/done"}
    assert environment("receiver", given)["RETURN_URL"] == "https://shop.example/done"


def test_restart_policies_and_health() -> None:
    """All but the one-shot migration are started again; all that have a port are asked for their health."""
    assert {name for name, service in SERVICES.items() if service["restart"] == "no"} == {"migrate"}
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == {"migrate", "worker"}


def test_who_waits_waits_for_something_that_tells() -> None:
    """Each condition can come true: a health check where health is asked, an end where an end is."""
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
            else:
                assert (how["condition"], other) == ("service_completed_successfully", "migrate")


def test_health_checks_ask_addresses_that_exist() -> None:
    """The receiver's and the sandbox's health checks name a route and the port that they listen on."""
    settings = Settings(_env_file=None, database_url="postgresql://db/o", redis_url="redis://cache")
    ports = {"receiver": settings.port, "sandbox": settings.sandbox_port}
    apps = {"receiver": create_app(settings), "sandbox": create_sandbox(SandboxConfig())}
    for name, application in apps.items():
        address = re.search(r"127\.0\.0\.1:(\d+)(/\w+)", SERVICES[name]["healthcheck"]["test"][-1])
        assert address
        assert int(address[1]) == ports[name]
        assert address[2] in {route.resource.canonical for route in application.router.routes() if route.resource}


def test_nothing_is_open_to_the_world() -> None:
    """Ports are published on loopback; the stores have none, and are on the internal network alone."""
    assert COMPOSE["networks"]["stores"]["internal"] is True
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        if name in ("postgres", "redis"):
            assert "ports" not in service
            assert service["networks"] == ["stores"]


def test_our_containers_may_do_little() -> None:
    """Read-only, without capabilities, and with no way to gain some."""
    for name in OURS:
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


async def test_the_redis_keeps_what_it_accepts(tmp_path: Path) -> None:
    """A real server with this very configuration may accept notices while Postgres is away."""
    port, config = own_port(), tmp_path / "redis.conf"
    content = COMPOSE["configs"]["redis"]["content"].replace("dir /data", f"dir {tmp_path}")
    config.write_text(f"{content}bind 127.0.0.1\nport {port}\n", "utf-8")
    process = Process(Program("Redis", (str(_server()), str(config)), tmp_path / "log", dict(os.environ), tmp_path))
    redis = connect(f"redis://:{GIVEN['REDIS_PASSWORD']}@127.0.0.1:{port}/0")
    process.start()
    try:
        await process.wait_ready(partial(_answers, redis), 30)
        assert await weaknesses(redis) == []
    finally:
        await redis.aclose(close_connection_pool=True)
        await process.stop()


async def _answers(redis: ArqRedis) -> bool:
    try:
        return bool(await redis.ping())
    except REDIS_AWAY:
        return False


def test_the_example_names_what_is_needed_and_nothing_unknown() -> None:
    """Every required variable stands in .env.example to be filled in; every name there means something."""
    names = set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    assert set(re.findall(r"^([A-Z_]+)=$", EXAMPLE, re.MULTILINE)) == REQUIRED
    assert {name for name in names if name.lower() not in Settings.model_fields} <= VARIABLES
