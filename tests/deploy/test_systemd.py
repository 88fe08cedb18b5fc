"""The units of deploy/systemd run commands that exist, with settings that exist, and may do little."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from service.settings import Settings

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
INSTALLED = "/opt/portone-orders/bin/portone-orders"
# What systemd's own measure, from 0 to 100, may be: 20 is "OK", and a service of the network cannot reach 0.
EXPOSURE_MAX = 20


def lines(unit: Path, key: str) -> list[str]:
    """Return the values of a key of a unit, in their order."""
    return re.findall(rf"^{key}=(.*)$", unit.read_text("utf-8"), re.MULTILINE)


def hardening(unit: Path) -> str:
    """Return the block that says what the service may do."""
    return unit.read_text("utf-8").partition("\nDynamicUser=yes\n")[2].partition("\n[Install]")[0].strip()


def test_every_kind_of_process_has_its_unit() -> None:
    """There are units for receivers, workers and the migrations, and each runs a command of ours."""
    commands = {unit.stem: lines(unit, "ExecStart") for unit in SERVICES}
    assert commands == {
        "portone-orders-migrate": [f"{INSTALLED} migrate"],
        "portone-orders-receiver@": [f"{INSTALLED} serve"],
        "portone-orders-worker@": [f"{INSTALLED} worker"],
    }
    for command in ("migrate", "serve", "worker"):
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_a_unit_sets_settings(unit: Path) -> None:
    """Each variable that a unit sets is a setting."""
    names = {name.lower() for value in lines(unit, "Environment") for name in re.findall(r"(\w+)=", value)}
    assert names <= Settings.model_fields.keys()


def test_all_may_do_equally_little() -> None:
    """Every unit has the same limits, so that none is forgotten in one of them."""
    first, *others = [hardening(unit) for unit in SERVICES]
    assert "CapabilityBoundingSet=\n" in first
    assert others == [first] * (len(SERVICES) - 1)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not on this machine")
def test_systemd_takes_them(tmp_path: Path) -> None:
    """systemd finds no fault in any unit, and calls none of them exposed."""
    units = []
    for unit in FOLDER.iterdir():
        text = unit.read_text("utf-8").replace(INSTALLED, str(Path(sys.executable).with_name("portone-orders")))
        units.append(tmp_path / unit.name.replace("@.", "@8080."))
        units[-1].write_text(text, "utf-8")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    services = [unit for unit in units if unit.suffix == ".service"]
    limits = ["--offline=yes", f"--threshold={EXPOSURE_MAX}"]
    for service in services:
        measured = subprocess.run(["systemd-analyze", "security", *limits, service], capture_output=True, check=False)
        assert measured.returncode == 0, measured.stdout.decode()
