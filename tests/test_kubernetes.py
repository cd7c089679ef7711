"""deploy/kubernetes: valid for the current release, and every name in it is one that the code has."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from ports import free_port
from process import Start

from health_routes import PROBES
from main import BEHIND_PORT
from server import DRAIN_SECONDS
from settings import Settings

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy" / "kubernetes"
MANIFESTS = [manifest for file in sorted(FOLDER.glob("*.yaml")) for manifest in yaml.safe_load_all(file.read_text())]
KUSTOMIZATION = next(manifest for manifest in MANIFESTS if manifest["kind"] == "Kustomization")
OBJECTS = {
    (manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in MANIFESTS if "metadata" in manifest
}
DEPLOYMENT, JOB = OBJECTS["Deployment", "bootstrap"], OBJECTS["Job", "bootstrap-migrate"]
PODS = {workload["kind"]: workload["spec"]["template"] for workload in (DEPLOYMENT, JOB)}
LOG_BYTES = 2048  # of the end of the log, which FallbackToLogsOnError shows
GRACE = {stage.name: stage.grace for stage in BEHIND_PORT}

both_pods = pytest.mark.parametrize("pod", PODS.values(), ids=PODS)


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize("manifest", OBJECTS.values(), ids=["-".join(key) for key in OBJECTS])
def test_is_valid(manifest: dict[str, Any]) -> None:
    """The schema of the newest release takes it, and no field is misspelt."""
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_kustomization_holds_every_file() -> None:
    """No manifest is left out, and the image of the workloads is the one that it replaces."""
    files = {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}

    assert set(KUSTOMIZATION["resources"]) == files
    assert {container(pod)["image"] for pod in PODS.values()} == {image["name"] for image in KUSTOMIZATION["images"]}


@both_pods
def test_settings_are_known_and_complete(pod: dict[str, Any]) -> None:
    """Every variable is a setting of the service, and with the secrets in place they are a valid configuration."""
    variables = dict(OBJECTS["ConfigMap", "bootstrap"]["data"])
    for variable in container(pod)["env"]:
        variables[variable["name"]] = variable.get("value") or _secret(variable["valueFrom"]["secretKeyRef"])
    names = {name.lower(): value for name, value in variables.items()}

    assert names.keys() <= Settings.model_fields.keys()
    checked = Settings.model_validate({**_without_files(names), "mysql_password": "a real one"})
    assert checked.app_env == "prod"


def _secret(reference: dict[str, str]) -> str:
    return str(OBJECTS["Secret", reference["name"]]["stringData"][reference["key"]])


def _without_files(names: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in names.items() if not name.endswith("_file")}


@both_pods
def test_secret_files_are_mounted(pod: dict[str, Any]) -> None:
    """Each ..._FILE names a file that a volume brings from a Secret of the example, and that the user may read."""
    (mount,) = [mount for mount in container(pod)["volumeMounts"] if mount["name"] == "secrets"]
    (volume,) = [volume["secret"] for volume in pod["spec"]["volumes"] if volume["name"] == "secrets"]
    files = {f"{mount['mountPath']}/{item['path']}": item["key"] for item in volume["items"]}
    named = {each["value"] for each in container(pod)["env"] if each["name"].endswith("_FILE")}

    assert named == files.keys()
    assert set(files.values()) <= OBJECTS["Secret", volume["secretName"]]["stringData"].keys()
    assert volume["defaultMode"] == 0o440
    assert pod["spec"]["securityContext"]["fsGroup"] == 10001


def test_account_of_the_migrations_is_another() -> None:
    """The service's account needs no rights on tables' definitions."""
    users = {_secret({"name": name, "key": "mysql_user"}) for name in ("bootstrap", "bootstrap-migrate")}

    assert len(users) == 2
    assert {"name": "MIGRATIONS", "value": "wait"} in container(PODS["Deployment"])["env"]
    assert container(PODS["Job"])["command"] == ["python", "migrate.py", "upgrade"]


def test_exit_codes_of_the_job() -> None:
    """What only a person can repair ends the Job; what may pass is tried again."""
    rules = JOB["spec"]["podFailurePolicy"]["rules"]
    codes = {rule["action"]: set(rule["onExitCodes"]["values"]) for rule in rules if "onExitCodes" in rule}

    assert codes == {"FailJob": {65, 70, 77, 78}, "Count": {69, 75}}


def test_probes_and_ports() -> None:
    """Startup and liveness never depend on the database, readiness does; all ask the port that the Service has."""
    probes = container(PODS["Deployment"])
    paths = {name: probes[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    (port,) = probes["ports"]
    service = OBJECTS["Service", "bootstrap"]["spec"]

    assert paths == {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health"}
    assert set(paths.values()) <= PROBES.keys()
    assert port["containerPort"] == Settings.model_fields["port"].default
    assert {probes[f"{name}Probe"]["httpGet"]["port"] for name in paths} == {port["name"]}
    assert [each["targetPort"] for each in service["ports"]] == [port["name"]]


def test_selectors_find_the_replicas_and_not_the_job() -> None:
    """Deployment, Service, budget and spread mean the same pods."""
    spec, labels = DEPLOYMENT["spec"], PODS["Deployment"]["metadata"]["labels"]
    selectors = [
        spec["selector"]["matchLabels"],
        OBJECTS["Service", "bootstrap"]["spec"]["selector"],
        OBJECTS["PodDisruptionBudget", "bootstrap"]["spec"]["selector"]["matchLabels"],
        spec["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]

    assert [selector for selector in selectors if selector != labels] == []
    assert PODS["Job"]["metadata"]["labels"] != labels


def test_time_to_stop() -> None:
    """The kubelet's SIGKILL comes after all that the service may do about SIGTERM."""
    service, job = PODS["Deployment"]["spec"], PODS["Job"]["spec"]
    sleep = container(PODS["Deployment"])["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert service["terminationGracePeriodSeconds"] > sleep + DRAIN_SECONDS + max(GRACE.values())
    assert job["terminationGracePeriodSeconds"] > GRACE["migrations"]
    assert DEPLOYMENT["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@both_pods
def test_restricted(pod: dict[str, Any]) -> None:
    """What the Pod Security Standard "restricted" asks for, the user of the image, and nothing from Kubernetes' API."""
    spec, own = pod["spec"], container(pod)["securityContext"]
    user = spec["securityContext"]["runAsUser"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert f"\nUSER {user}\n" in (ROOT / "fastapi" / "Dockerfile").read_text()
    assert spec["enableServiceLinks"] is False
    assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"DB_WAIT_TIMEOUT": "soon"}, "DB_WAIT_TIMEOUT should"), ({"DB_WAIT_TIMEOUT": 1}, "connection_refused")],
    ids=["78", "69"],
)
def test_end_of_the_log_is_the_reason(start: Start, settings: dict[str, object], reason: str) -> None:
    """What Kubernetes keeps of the log as the termination message holds cause and exit code."""
    service = start(MYSQL_PORT=free_port(), **settings)

    code = service.exit_code()
    message = service.log.encode()[-LOG_BYTES:].decode(errors="replace")

    assert {container(pod)["terminationMessagePolicy"] for pod in PODS.values()} == {"FallbackToLogsOnError"}
    assert reason in message
    assert f"Exit code {code}." in message
