"""What deploy/ offers for containers, by the schemas of those who read it and against this checkout."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

from docs.generate_deployments import deployments
from ordermq.config.schema import FRAMEWORK, declared
from ordermq.config.settings import Settings
from tests.support.commands import run_program

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
KUBERNETES = DEPLOY / "kubernetes"
SETTINGS = {f"ORDERMQ_{each.section}_{each.key}".upper() for each in declared(FRAMEWORK).values()}
SECRETS = {
    f"ORDERMQ_{each.section}_{each.key}_FILE".upper()
    for each in declared(FRAMEWORK).values()
    if each.is_secret
}
ONCE = {"migrate", "topology"}
JOBS = {"audit", "archive"}


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(COMPOSE.read_text())


@pytest.fixture(scope="module")
def own(compose):
    """The services of compose.yaml that run ordermq."""
    return {name: each for name, each in compose["services"].items() if each["image"].startswith("ordermq:")}


@pytest.fixture(scope="module")
def manifests():
    return [each for path in KUBERNETES.rglob("*.yaml") for each in yaml.safe_load_all(path.read_text())]


def environment_of(service):
    return {name for name in service["environment"] if name.startswith("ORDERMQ_")}


def test_the_compose_file_is_one_by_the_schema_of_the_compose_specification(compose):
    jsonschema.validate(compose, get_builtin_schema("vendor.compose-spec"))


def test_every_file_that_the_compose_file_mounts_is_there_or_is_a_secret(compose):
    mounts = [mount for each in compose["services"].values() for mount in each.get("volumes", [])]
    files = [mount.split(":")[0] for mount in mounts if mount.startswith(".")]
    assert files
    assert [each for each in files if not (DEPLOY / each).exists()] == []
    named = {each for mount in mounts if not mount.startswith(".") for each in [mount.split(":")[0]]}
    assert named == set(compose["volumes"])
    wanted = {each if isinstance(each, str) else each["source"]
              for service in compose["services"].values() for each in service.get("secrets", [])}  # fmt: skip
    assert wanted == set(compose["secrets"])


def test_a_process_begins_after_what_it_needs_and_has_the_time_to_stop(own):
    assert {name.removeprefix("consumer-") for name in own} >= {"relay", "inventory", "dead"}
    for name, each in own.items():
        conditions = {need: how["condition"] for need, how in each["depends_on"].items()}
        if name in ONCE:
            assert set(conditions.values()) == {"service_healthy"}, name
        elif name in JOBS:
            assert (each["profiles"], each["restart"]) == (["jobs"], "no")
            assert conditions == {"migrate": "service_completed_successfully"}, name
        elif name == "forward":
            needs = dict.fromkeys(["migrate", "kafka-topic"], "service_completed_successfully")
            assert (each["profiles"], conditions) == (["kafka"], needs)
        else:
            assert conditions == dict.fromkeys(ONCE, "service_completed_successfully"), name
        assert float(each["stop_grace_period"].removesuffix("s")) > Settings().consumer.drain_deadline_s


def test_no_container_of_ordermq_is_root_or_writes_outside_its_tmp(own):
    for name, each in own.items():
        assert (each["user"], each["read_only"], each["tmpfs"]) == ("10001:10001", True, ["/tmp"]), name  # noqa: S108 # of the container
        assert (each["cap_drop"], each["security_opt"]) == (["ALL"], ["no-new-privileges:true"]), name


def test_every_variable_is_a_setting_and_every_secret_a_file(own, manifests):
    configs = {name for each in manifests if each["kind"] == "ConfigMap" for name in each["data"]}
    named = {name for each in own.values() for name in environment_of(each)} | configs
    assert named - SETTINGS <= SECRETS
    assert named & SECRETS == SECRETS


def test_the_image_runs_no_shell_and_asks_ordermq_for_its_health():
    text = (DEPLOY / "Containerfile").read_text().rpartition("\nFROM ")[2]
    for instruction in ("HEALTHCHECK", "CMD"):
        (line,) = [each for each in text.splitlines() if each.startswith(instruction)]
        assert json.loads(line[line.index("[") :])[0] == "ordermq"
    user = re.search(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    assert user is not None
    assert "0" not in user.groups()
    port = re.search(r"ORDERMQ_OBSERVE_HTTP_PORT=(\d+)", text)
    assert port is not None
    assert f"EXPOSE {port[1]}" in text


def test_what_is_generated_from_the_shop_s_queues_is_of_this_checkout():
    stale = [str(path) for path, text in deployments().items() if (DEPLOY / path).read_text() != text]
    assert stale == [], "run make docs"


def test_each_queue_has_a_deployment_with_probes_a_budget_and_but_for_the_dead_ones_a_scale(manifests):
    by_kind = {}
    for each in manifests:
        by_kind.setdefault(each["kind"], {})[each.get("metadata", {}).get("name", "")] = each.get("spec", {})
    consumers = by_kind["Deployment"].keys() - {"relay", "forward"}
    assert by_kind["PodDisruptionBudget"].keys() == by_kind["Deployment"].keys()
    assert by_kind["ScaledObject"].keys() == consumers - {"consumer-dead"}
    for name, spec in by_kind["Deployment"].items():
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        assert {container[f"{each}Probe"]["httpGet"]["path"] for each in ("liveness", "startup")} == {
            "/healthz"
        }
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert pod["terminationGracePeriodSeconds"] > Settings().consumer.drain_deadline_s, name
        assert (
            pod["securityContext"]["runAsNonRoot"]
            is container["securityContext"]["readOnlyRootFilesystem"]
            is True
        )
        budget = by_kind["PodDisruptionBudget"][name]["selector"]["matchLabels"]
        assert budget == spec["selector"]["matchLabels"]
        assert budget.items() <= spec["template"]["metadata"]["labels"].items()
    for name, spec in by_kind["ScaledObject"].items():
        assert spec["scaleTargetRef"]["name"] == name
        (trigger,) = spec["triggers"]
        assert trigger["metadata"]["queueName"] == name.replace("consumer-", "orders.")
        assert trigger["authenticationRef"]["name"] in by_kind["TriggerAuthentication"]
        assert all(isinstance(value, str) for value in trigger["metadata"].values())


def test_kustomize_names_every_manifest():
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    files = {each.name for each in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files
    component = yaml.safe_load((KUBERNETES / "extras/kustomization.yaml").read_text())
    others = {each.name for each in (KUBERNETES / "extras").glob("*.yaml")} - {"kustomization.yaml"}
    assert (component["kind"], set(component["resources"])) == ("Component", others)


def test_the_key_of_the_audit_log_is_given_to_its_job_alone(compose, manifests):
    has_key = [name for name, each in compose["services"].items() if "audit_key" in each.get("secrets", [])]
    assert has_key == ["audit"]
    pods = [
        each for each in manifests if "ordermq-audit" in re.findall(r"'secretName': '([^']+)'", str(each))
    ]
    assert [(each["kind"], each["metadata"]["name"]) for each in pods] == [("CronJob", "audit")]
    (job,) = pods
    assert job["spec"]["concurrencyPolicy"] == "Forbid"


def test_a_command_of_a_container_is_one_that_ordermq_has(own, manifests):
    archive = (KUBERNETES / "extras/archive.yaml.in").read_text()
    for word, by in (("MONTH", "2026-01"), ("REASON", "a year old")):
        archive = archive.replace(word, by)
    pods = [found for each in [*manifests, yaml.safe_load(archive)] for found in containers(each)]
    commands = {tuple(each.get("entrypoint", []) + each["command"]) for each in [*own.values(), *pods]}
    assert ("ordermq", "events", "forward", "--to", "kafka") in commands
    for command in sorted(each for each in commands if each[0] == "ordermq"):
        words = [each for each in command if each != "--help"]
        said = run_program(*words, "--nonsense")
        assert (said.returncode, "No such option '--nonsense'" in said.stderr) == (64, True), said


def containers(manifest):
    """Every container of a manifest, wherever its pod stands."""
    if isinstance(manifest, dict):
        for name, each in manifest.items():
            yield from each if name in ("containers", "initContainers") else containers(each)


def test_the_secrets_of_compose_stay_out_of_repository_and_source_archive():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/deploy/secrets/", "/deploy/ordermq.env"} <= set(ignored)
    left_out = (ROOT / "MANIFEST.in").read_text().splitlines()
    assert {"prune deploy/secrets", "exclude deploy/ordermq.env"} <= set(left_out)


@pytest.mark.parametrize(
    ("name", "events"), [("definitions.json", "false"), ("definitions-events.json", "true")]
)
def test_what_the_sample_definitions_declare_is_what_topology_verify_expects(
    ordermq_stack, vhost, name, events
):
    sample = json.loads((DEPLOY / "rabbitmq" / name).read_text())
    declared = {
        part: [{key: value for key, value in each.items() if key != "vhost"} for each in sample[part]]
        for part in ("exchanges", "queues", "bindings")
    }
    ordermq_stack.broker.api("POST", f"definitions/{vhost.name}", declared)
    env = {**ordermq_stack.environment(), "ORDERMQ_BROKER_VHOST": vhost.name}
    verified = run_program("ordermq", "topology", "verify", env={**env, "ORDERMQ_TOPOLOGY_EVENTS": events})
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_restarted_broker_of_the_sample_does_not_take_its_users_passwords_away():
    """With load_definitions RabbitMQ imports the users, who have no password there, at every start."""
    conf = (DEPLOY / "rabbitmq/rabbitmq.conf").read_text()
    lines = dict(line.split(" = ", 1) for line in conf.splitlines() if " = " in line and line[0] != "#")
    assert "load_definitions" not in lines
    assert lines["definitions.skip_if_unchanged"] == "true"
    assert lines["definitions.local.path"] == "/etc/rabbitmq/definitions.json"
