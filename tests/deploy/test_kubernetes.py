"""The manifests of deploy/kubernetes are valid, run what exists, may do little, and hold no secret."""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from cli import serve
from cli.main import app
from docs.make_metrics import ours
from service.http.app import create_app
from service.settings import Settings
from tests.alerts.test_rules import base_name, names_in
from tests.deploy.kustomized import Manifest, build, by_name, containers, pod
from tests.deploy.make_kubernetes_schemas import VERSIONS, schemas_file
from workers import main as workers

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
EXAMPLE = FOLDER / "overlays" / "example"
MANIFESTS = [*build(EXAMPLE), *build(EXAMPLE / "migration")]
NAMED = by_name(MANIFESTS)
MAKING_PODS = [each for each in MANIFESTS if pod(each)]
RECEIVER, WORKER, MIGRATE = (
    NAMED[kind, f"portone-orders-{name}"]
    for kind, name in (("Deployment", "receiver"), ("Deployment", "worker"), ("Job", "migrate"))
)
ADAPTER = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text("utf-8"))["rules"]["external"]


def title(manifest: Manifest) -> str:
    """Return a manifest's kind and name, for a test's id."""
    return f"{manifest['kind']}-{manifest['metadata']['name']}"


def variables(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Return the environment of a manifest's only container, by name."""
    [container] = containers(manifest)
    return {variable["name"]: variable for variable in container["env"]}


@cache
def schemas(version: str) -> dict[str, Any]:
    """Return Kubernetes' schemas by apiVersion and kind, each with what it refers to."""
    published = json.loads(schemas_file(version).read_text("utf-8"))
    return {name: {**kind, "$defs": published["$defs"]} for name, kind in published["kinds"].items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_them(version: str) -> None:
    """Each manifest has only fields that Kubernetes publishes for its kind, of the oldest version and the newest."""
    for manifest in MANIFESTS:
        schema = schemas(version)[f"{manifest['apiVersion']} {manifest['kind']}"]
        faults = [f"{title(manifest)}: {error.message}" for error in Draft202012Validator(schema).iter_errors(manifest)]
        assert faults == []


def test_a_misspelt_field_is_found() -> None:
    """The schemas refuse a field that Kubernetes does not have."""
    wrong = {**RECEIVER, "spec": {**RECEIVER["spec"], "minReadySecond": 5}}
    assert not Draft202012Validator(schemas(VERSIONS[-1])["apps/v1 Deployment"]).is_valid(wrong)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine")
@pytest.mark.parametrize("folder", [EXAMPLE, EXAMPLE / "migration"], ids=("services", "migration"))
def test_kustomize_puts_the_same_together(folder: Path) -> None:
    """The manifests that these tests read equal those that kubectl makes of the same folder."""
    made = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True).stdout
    without_hashes = re.sub(r"(portone-orders-settings)-[a-z0-9]{10}", r"\1", made)
    assert by_name(list(yaml.safe_load_all(without_hashes))) == by_name(build(folder))


def test_every_kind_of_process_runs_its_command() -> None:
    """Receivers, workers and the migration run commands of ours, from the same image."""
    [images] = {tuple(container["image"] for container in containers(each)) for each in MAKING_PODS}
    assert images == ("registry.shop.example/portone-orders:0.1.0",)
    for manifest, command in ((RECEIVER, "serve"), (WORKER, "worker"), (MIGRATE, "migrate")):
        [container] = containers(manifest)
        assert container["args"] == [command]
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize("manifest", MAKING_PODS, ids=title)
def test_a_pod_may_do_little(manifest: Manifest) -> None:
    """Each pod keeps to the restricted standard, writes nowhere, and knows no token of the cluster."""
    spec = pod(manifest)
    assert spec is not None
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(manifest):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_the_user_is_the_images() -> None:
    """Each pod runs as the user for whom the image was made."""
    dockerfile = (FOLDER.parents[1] / "Dockerfile").read_text("utf-8")
    users = {(pod(each) or {})["securityContext"]["runAsUser"] for each in MAKING_PODS}
    assert f"USER {users.pop()}:10001" in dockerfile
    assert not users


@pytest.mark.parametrize("manifest", MAKING_PODS, ids=title)
def test_a_pod_is_given_settings(manifest: Manifest) -> None:
    """Each variable is a setting, and no service of the cluster sets another."""
    settings = NAMED["ConfigMap", "portone-orders-settings"]["data"]
    assert {name.lower() for name in variables(manifest).keys() | settings.keys()} <= Settings.model_fields.keys()
    assert (pod(manifest) or {})["enableServiceLinks"] is False


def test_secrets_are_only_referred_to() -> None:
    """No file has a secret: each setting that is one comes from a Secret, and each process gets its own alone."""
    secrets = {name.upper() for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)}
    for manifest in MAKING_PODS:
        for name, variable in variables(manifest).items():
            assert ("secretKeyRef" in variable.get("valueFrom", {})) == (name in secrets or name.startswith("PORTONE_"))
    assert not secrets & NAMED["ConfigMap", "portone-orders-settings"]["data"].keys()
    assert not any(each["kind"] == "Secret" for each in MANIFESTS)
    assert "SERVICE_KEYS" in variables(RECEIVER)
    assert "SERVICE_KEYS" not in variables(WORKER)
    assert not {name for name in variables(RECEIVER) if name.startswith("PORTONE_")}
    assert variables(MIGRATE).keys() == {"DATABASE_URL"}


def test_probes_ask_addresses_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each probe asks a path that is answered at the port on which the process listens; readiness asks /readyz."""
    settings = Settings(_env_file=None, database_url="postgresql://db/o", redis_url="redis://cache")
    routes = {route.resource.canonical for route in create_app(settings).router.routes() if route.resource}
    [receiver], [worker] = containers(RECEIVER), containers(WORKER)
    asked = {probe: receiver[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {probe["port"] for probe in asked.values()} == {"http"}
    assert {probe["path"] for probe in asked.values()} <= routes
    assert asked["readinessProbe"]["path"] == "/readyz"
    assert worker["livenessProbe"]["httpGet"] == {"path": "/metrics", "port": "metrics"}
    for container in (receiver, worker):
        ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
        given = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert ports.get("http") == given.get("PORT")
        assert ports["metrics"] == given["METRICS_PORT"]


def test_nobody_is_killed_while_it_finishes() -> None:
    """Kubernetes waits until no calls are sent any more and those under way are done, and a worker's batch is."""
    [receiver] = containers(RECEIVER)
    until_unknown = receiver["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert _grace(RECEIVER) >= until_unknown + serve._DRAIN_SECONDS + 5
    assert _grace(WORKER) >= workers._STOP_SECONDS + 5


def _grace(manifest: Manifest) -> int:
    return int((pod(manifest) or {})["terminationGracePeriodSeconds"])


def test_a_rollout_and_a_drained_node_leave_enough() -> None:
    """A new pod is ready before an old one stops, and a node that is drained takes one of each kind at a time."""
    for name in ("receiver", "worker"):
        deployment = NAMED["Deployment", f"portone-orders-{name}"]
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        assert "replicas" not in deployment["spec"], "the autoscaler says how many"
        assert NAMED["HorizontalPodAutoscaler", f"portone-orders-{name}"]["spec"]["minReplicas"] >= 2
        budget = NAMED["PodDisruptionBudget", f"portone-orders-{name}"]["spec"]
        assert budget["maxUnavailable"] == 1
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert budget["selector"] == deployment["spec"]["selector"] == {"matchLabels": labels}


def test_the_network_lets_through_what_is_needed_alone() -> None:
    """Each pod is under the common policy, callers reach receivers alone, and only workers reach the world."""
    policies = [each["spec"] for each in MANIFESTS if each["kind"] == "NetworkPolicy"]
    common, *_ = [each for each in policies if "app.kubernetes.io/component" not in each["podSelector"]["matchLabels"]]
    assert common["policyTypes"] == ["Ingress", "Egress"]
    for manifest in MAKING_PODS:
        assert common["podSelector"]["matchLabels"].items() <= manifest["metadata"]["labels"].items()
    open_to = {
        (spec["podSelector"]["matchLabels"]["app.kubernetes.io/component"], rule["ports"][0]["port"])
        for spec in policies
        for rule in spec.get("egress", ())
        if any(to.get("ipBlock", {}).get("cidr") == "0.0.0.0/0" for to in rule["to"])
    }
    assert open_to == {("worker", 443)}
    called = {
        (spec["podSelector"]["matchLabels"].get("app.kubernetes.io/component"), port["port"])
        for spec in policies
        for rule in spec.get("ingress", ())
        for port in rule["ports"]
    }
    assert called == {(None, 9464), ("receiver", 8080)}


def test_the_autoscalers_ask_for_what_is_exposed() -> None:
    """Each external metric has a rule, and each rule's query names metrics of ours."""
    scalers = [each for each in MANIFESTS if each["kind"] == "HorizontalPodAutoscaler"]
    wanted = {m["external"]["metric"]["name"] for s in scalers for m in s["spec"]["metrics"] if m["type"] == "External"}
    assert wanted == {rule["name"]["as"] for rule in ADAPTER}
    for rule in ADAPTER:
        used = {base_name(name) for name in names_in(rule["metricsQuery"])}
        assert used
        assert used | {base_name(rule["seriesQuery"])} <= ours().keys()
