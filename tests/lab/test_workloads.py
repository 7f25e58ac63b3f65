"""The same workloads in both modes of a virtual cluster: they must not be able to tell the difference."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest

from .harness import KUBECTL, ROOT, until
from .space import WAIT, Space, made_space

WORKLOADS = ROOT / "tests/lab/data/workloads.yml"
WEB = "/web"


@pytest.fixture(scope="module", params=["payments--dev", "research--lab"], ids=["shared", "dedicated"])
def space(request: pytest.FixtureRequest, site: object) -> Iterator[Space]:
    """With all workloads applied and rolled out."""
    with made_space(request.param, "workloads") as found:
        found("apply", "-f", str(WORKLOADS))
        for workload in ("deployment/web", "statefulset/member", "daemonset/everywhere"):
            found("rollout", "status", workload, WAIT)
        found("wait", "--for=condition=Ready", "pod/client", WAIT)
        # Nodes learn of a Service's pods some moments after these are ready.
        until(lambda: found.try_("exec", "client", "--", WEB, "get", "http://web/").returncode == 0)
        yield found


def test_mode_is_what_the_name_of_the_test_says(space: Space, request: pytest.FixtureRequest) -> None:
    agents = space.json("nodes")["items"][0]["metadata"]["name"].startswith("agent-")
    assert agents == ("dedicated" in request.node.name)


def test_service_by_name_and_address(space: Space) -> None:
    address = space.json("service", "web")["spec"]["clusterIP"]
    assert space.in_client("resolve", "web") == address
    assert "deployment" in space.in_client("get", "http://web/")
    assert "deployment" in space.in_client("get", f"http://{address}/")
    assert space.in_client("resolve", f"web.{space.name}.svc.cluster.local") == address


def test_members_of_a_stateful_set_have_names(space: Space) -> None:
    for number in (0, 1):
        pod = space.json("pod", f"member-{number}")
        assert space.in_client("resolve", f"member-{number}.members") == pod["status"]["podIP"]
        assert space.in_client("get", f"http://member-{number}.members:8080/hostname") == f"member-{number}"


def test_pods_know_who_they_are(space: Space) -> None:
    pod = space.json("pods", "-l", "app=web")["items"][0]
    printed = space("exec", pod["metadata"]["name"], "--", WEB, "env")
    found = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    assert found["MY_NAME"] == pod["metadata"]["name"]
    assert found["MY_NAMESPACE"] == space.name
    assert found["MY_APP"] == "web"
    assert found["MY_ACCOUNT"] == "default"
    assert found["MY_ADDRESS"] == pod["status"]["podIP"]
    assert found["PASSWORD"] == "swordfish"
    labels = space("exec", pod["metadata"]["name"], "--", WEB, "cat", "/labels/labels")
    assert 'app="web"' in labels.splitlines()
    assert 'app.kubernetes.io/name="web"' in labels.splitlines()
    services = space.json("services")["items"]
    assert found["WEB_SERVICE_HOST"] == next(
        one["spec"]["clusterIP"] for one in services if one["metadata"]["name"] == "web"
    )


def test_daemon_set_has_a_pod_on_each_node(space: Space) -> None:
    nodes = {node["metadata"]["name"] for node in space.json("nodes")["items"]}
    pods = space.json("pods", "-l", "app=everywhere")["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == nodes


def test_job_with_init_and_sidecar_containers(space: Space) -> None:
    space("wait", "--for=condition=Complete", "job/once", WAIT)
    assert space("logs", "job/once", "-c", "main").strip() == "from init"


def test_cron_job(space: Space) -> None:
    space("create", "job", "--from=cronjob/nightly", "tonight")
    space("wait", "--for=condition=Complete", "job/tonight", WAIT)
    assert space("logs", "job/tonight").strip() == "good night"


def test_in_cluster_client_reaches_its_own_api(space: Space) -> None:
    path = f"/api/v1/namespaces/{space.name}/pods"
    refused = space.in_client("kube", path)
    assert "403" in refused.splitlines()[0]
    assert f"system:serviceaccount:{space.name}:default" in refused
    space("create", "rolebinding", "reader", "--clusterrole=view", f"--serviceaccount={space.name}:default")
    answer = space.in_client("kube", path)
    assert "200" in answer.splitlines()[0]
    assert '"member-0"' in answer


def test_changed_config_map_is_seen_in_the_volume(space: Space) -> None:
    pod = space.json("pods", "-l", "app=web")["items"][0]["metadata"]["name"]
    space("patch", "configmap", "settings", "-p", '{"data": {"greeting": "good morning"}}')
    # Kubelets look after volumes when something about the pod changes, or once a minute.
    space("label", "pod", pod, "seen=true")
    until(lambda: space("exec", pod, "--", WEB, "cat", "/settings/greeting") == "good morning", 120)


def test_streams(space: Space) -> None:
    pod = space.json("pods", "-l", "app=web")["items"][0]["metadata"]["name"]
    sent = "".join(f"line {number} {'x' * 90}\n" for number in range(20_000))
    assert space("exec", "-i", "client", "--", WEB, "echo", stdin=sent) == sent
    assert space.try_("exec", "client", "--", WEB, "exit", "7").returncode == 7
    space.in_client("get", f"http://web/print?text={'a' * 50}")
    logs = "".join(space("logs", one["metadata"]["name"]) for one in space.json("pods", "-l", "app=web")["items"])
    assert "a" * 50 in logs
    missing = space.try_("exec", pod, "--", "/no-such-program")
    assert missing.returncode != 0
    assert space.vcluster not in missing.stderr, "the namespace on the host"


def test_port_forward(space: Space) -> None:
    arguments = ["port-forward", "service/web", ":80", "-n", space.name]
    command = [KUBECTL, "--kubeconfig", space.kubeconfig, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        try:
            port = re.search(r":(\d+) ->", forward.stdout.readline())[1]
            for _round in range(3):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as page:
                    assert b"deployment" in page.read()
        finally:
            forward.terminate()


def test_deleted_pods_are_replaced(space: Space) -> None:
    before = {one["metadata"]["uid"] for one in space.json("pods", "-l", "app=member")["items"]}
    space("delete", "pods", "-l", "app=member", WAIT)
    space("rollout", "status", "statefulset/member", WAIT)
    after = {one["metadata"]["uid"] for one in space.json("pods", "-l", "app=member")["items"]}
    assert len(after) == 2
    assert not before & after


def test_scaling(space: Space) -> None:
    space("scale", "deployment/web", "--replicas=4")
    space("rollout", "status", "deployment/web", WAIT)
    space("scale", "deployment/web", "--replicas=1")
    space("wait", "--for=jsonpath={.status.replicas}=1", "deployment/web", WAIT)
