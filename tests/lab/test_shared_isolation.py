"""What an administrator inside a virtual cluster of mode shared crafts reaches nothing on the host but its own pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .harness import everything, kubectl, ran, until
from .space import IN_BOTH_MODES, Space, made_space

VCLUSTER = "payments--dev"
NOT_A_COPY = "app.kubernetes.io/managed-by!=tenantry-syncer"
SMALL = {"limits": {"cpu": "10m", "memory": "16Mi"}}


def make(space: Space, kind: str, name: str, *, api: str = "v1", metadata: dict | None = None, **fields: Any) -> None:
    space.create({"apiVersion": api, "kind": kind, "metadata": {"name": name, **(metadata or {})}, **fields})


def container(name: str, *words: str, **fields: Any) -> dict:
    return {"name": name, "image": "docker.io/lab/web:1", "args": list(words), "resources": SMALL, **fields}


def platforms(hub: Path, kind: str, selector: str = NOT_A_COPY) -> list[dict]:
    """What is in the namespace on the host that the syncer did not make."""
    return json.loads(ran(hub, "-n", VCLUSTER, "get", kind, "-l", selector, "-o", "json"))["items"]


@pytest.fixture(scope="module")
def space(site: object, hub: Path) -> Iterator[Space]:
    """Around all tests: what the host has outside of the virtual cluster's namespace stays as it was."""

    def others() -> set[str]:
        return {line for line in everything(hub) if not line.endswith(f" {VCLUSTER}") and "Volume pvc-" not in line}

    before = others()
    with made_space(VCLUSTER, "walls") as found:
        yield found
    assert others() == before


def test_names_of_the_platform_mean_the_tenants_own_objects(hub: Path, space: Space) -> None:
    """A pod that wants every Secret that the platform has there gets those of the same name inside."""
    wanted = [item["metadata"]["name"] for item in platforms(hub, "secrets")]
    assert {"join-token", "server-config", "platform-credential"} <= set(wanted)
    for name in wanted:
        make(space, "Secret", name, stringData={"probe": f"mine: {name}"})
    make(
        space, "Pod", "reader",
        spec={
            "restartPolicy": "Never",
            "containers": [
                container(name, "cat", "/s/probe", command=["/web"], volumeMounts=[{"name": name, "mountPath": "/s"}])
                for name in wanted
            ],
            "volumes": [{"name": name, "secret": {"secretName": name}} for name in wanted],
        },
    )  # fmt: skip
    space("wait", "pod/reader", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=90s")
    for name in wanted:
        assert space("logs", "reader", "-c", name) == f"mine: {name}"


def test_no_reference_leads_to_an_object_of_the_platform(hub: Path, space: Space) -> None:
    given = {
        kind: {item["metadata"]["name"] for item in platforms(hub, kind)}
        for kind in ("secrets", "configmaps", "persistentvolumeclaims", "serviceaccounts")
    }
    names = set().union(*given.values()) - {"pods"}
    assert {"data-server-0", "syncer", "join-token"} <= names
    make(space, "ServiceAccount", "syncer")
    spec = {
        "serviceAccountName": "syncer",
        "imagePullSecrets": [{"name": "join-token"}],
        "containers": [
            container(
                "web", "sleep",
                envFrom=[{"secretRef": {"name": "join-token"}}, {"configMapRef": {"name": "kube-root-ca.crt"}}],
                env=[{"name": "X", "valueFrom": {"secretKeyRef": {"name": "platform-credential", "key": "token"}}}],
            )
        ],
        "volumes": [
            {"name": "claim", "persistentVolumeClaim": {"claimName": "data-server-0"}},
            {"name": "many", "projected": {"sources": [{"secret": {"name": "server-config"}}]}},
        ],
    }  # fmt: skip
    make(space, "Pod", "grabber", spec=spec)
    copy = until(lambda: space.copy_of(hub, "pods", "grabber"))
    assert copy["spec"]["serviceAccountName"] == "pods"
    assert not copy["spec"].get("automountServiceAccountToken")
    assert not names & set(referenced(copy["spec"]))


def referenced(value: Any) -> Iterator[str]:
    """All values of keys that name other objects."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key in ("secretName", "claimName", "serviceAccountName", "name") and isinstance(one, str):
                yield one
            yield from referenced(one)
    elif isinstance(value, list):
        for one in value:
            yield from referenced(one)


def test_metadata_of_the_tenant_stays_its_own(hub: Path, space: Space) -> None:
    """Labels by which the host's Services, quotas and policies select do not get there."""
    server = platforms(hub, "pods", "app.kubernetes.io/component=server")[0]
    owner = space("get", "configmap", "kube-root-ca.crt", "-o", "jsonpath={.metadata.uid}")
    foreign = {**server["metadata"]["labels"], "tenantry.dev/tenant": "research"}
    notes = {"kubernetes.io/ingress-bandwidth": "1M", "tenantry.dev/uid": "x", "tenantry.dev/name": "server-0"}
    metadata = {
        "labels": foreign,
        "annotations": notes,
        "finalizers": ["example.com/never"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "kube-root-ca.crt", "uid": owner}],
    }
    make(space, "Pod", "impostor", metadata=metadata, spec={"containers": [container("web", "serve")]})
    try:
        copy = until(lambda: space.copy_of(hub, "pods", "impostor"))
        labels = copy["metadata"]["labels"]
        assert labels["tenantry.dev/tenant"] == "payments"
        assert labels["app.kubernetes.io/component"] == "pod"
        ours = ("app.kubernetes.io/", "tenantry.dev/", "x.tenantry.dev/")
        assert all(key.startswith(ours) for key in labels)
        assert not set(notes) & set(copy["metadata"]["annotations"]) - {"tenantry.dev/uid", "tenantry.dev/name"}
        assert copy["metadata"]["annotations"]["tenantry.dev/name"] == "impostor"
        assert "finalizers" not in copy["metadata"]
        assert "ownerReferences" not in copy["metadata"]
        space("wait", "pod/impostor", "--for=condition=Ready", "--timeout=60s")
        selecting = ("api", "kubernetes", "server")
        for name in selecting:
            found = ran(hub, "-n", VCLUSTER, "get", "endpoints", name, "-o", "jsonpath={.subsets[*].addresses[*].ip}")
            assert found.split() == [server["status"]["podIP"]]
    finally:
        space("patch", "pod", "impostor", "-p", '{"metadata": {"finalizers": null}}')


@pytest.mark.parametrize("name", ["system-node-critical", "tenantry-prod"])
def test_priority_is_the_platforms_to_give(hub: Path, space: Space, name: str) -> None:
    """QUO-6: whatever a pod has inside, on the host it is of the virtual cluster's tier."""
    if name == "tenantry-prod":
        make(space, "PriorityClass", name, api="scheduling.k8s.io/v1", value=1_000_000_000)
    try:
        spec = {"priorityClassName": name, "containers": [container("web", "sleep")]}
        make(space, "Pod", f"urgent-{name}", spec=spec)
        copy = until(lambda: space.copy_of(hub, "pods", f"urgent-{name}"))
        assert (copy["spec"]["priorityClassName"], copy["spec"]["priority"]) == ("tenantry-dev", 1000)
    finally:
        space("delete", "pod", f"urgent-{name}", "--ignore-not-found")
        space("delete", "priorityclass", "tenantry-prod", "--ignore-not-found")


@pytest.fixture(scope="module")
def target(hub: Path, space: Space) -> str:
    """A pod of the tenant's own, by its name on the host; its logs are the positive control."""
    make(space, "Pod", "target", spec={"containers": [container("web", "serve", "--text", "target")]})
    space("wait", "pod/target", "--for=condition=Ready", "--timeout=60s")
    space("logs", "target")
    return space.copy_of(hub, "pods", "target")["metadata"]["name"]


@pytest.mark.parametrize(
    "path",
    [
        "pods", "configz", "metrics", "logs/", "stats/summary", "runningpods/", "debug/pprof/",
        "run/{space}/target/web",
        "containerLogs/payments--dev/server-0/k3s", "containerLogs/payments--stage/server-0/k3s",
        "containerLogs/{space}/..%2f..%2fserver-0/web", "containerLogs/{space}/{host}/web",
        "containerLogs/kube-system/server-0/k3s", "exec/payments--dev/server-0/k3s?command=id&output=1",
    ],
)  # fmt: skip
def test_the_kubelet_api_reaches_own_pods_only(space: Space, target: str, path: str) -> None:
    answer = space.try_("get", "--raw", f"/api/v1/nodes/hub/proxy/{path.format(space=space.name, host=target)}")
    assert answer.returncode != 0
    assert not answer.stdout


def test_services_have_no_foreign_addresses(hub: Path, space: Space) -> None:
    spec = {"externalIPs": ["10.43.0.1", "8.8.8.8"], "ports": [{"port": 80}], "selector": {"app": "none"}}
    make(space, "Service", "outside", spec=spec)
    copy = until(lambda: space.copy_of(hub, "services", "outside"))
    assert "externalIPs" not in copy["spec"]
    make(space, "Service", "elsewhere", spec={"ports": [{"port": 80}]})
    fields = {
        "addressType": "IPv4",
        "endpoints": [{"addresses": [one]} for one in ("127.0.0.1", "169.254.169.254", "10.99.0.1")],
        "ports": [{"port": 80, "name": ""}],
    }
    labels = {"kubernetes.io/service-name": "elsewhere"}
    api = "discovery.k8s.io/v1"
    with pytest.raises(AssertionError, match="may not be in the"):
        make(space, "EndpointSlice", "elsewhere-1", api=api, metadata={"labels": labels}, **fields)
    fields["endpoints"] = [{"addresses": ["10.99.0.1"]}]
    make(space, "EndpointSlice", "elsewhere-1", api=api, metadata={"labels": labels}, **fields)
    found = until(lambda: space.copy_of(hub, "endpointslices", "elsewhere-1"))
    assert [one["addresses"] for one in found["endpoints"]] == [["10.99.0.1"]]


@pytest.mark.parametrize("space_in", IN_BOTH_MODES)
def test_a_network_policy_without_effect_warns(site: object, space_in: str) -> None:
    """The request succeeds, as charts expect. Agents of mode dedicated enforce it, so there is no warning there."""
    with made_space(space_in, "policies") as space:
        spec = {"podSelector": {}, "policyTypes": ["Ingress"]}
        policy = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "deny"},
            "spec": spec,
        }
        run = space.try_("apply", "-f", "-", stdin=json.dumps(policy))
        assert run.stdout == "networkpolicy.networking.k8s.io/deny created\n"
        assert ("NetworkPolicies have no effect in a virtual cluster of mode shared" in run.stderr) == space.shared


def test_the_resources_are_a_limit(space: Space) -> None:
    """QUO-1, and who is over it reads which quota, how much is used and how much there is."""
    make(
        space,
        "Pod",
        "big",
        spec={"containers": [{**container("web", "sleep"), "resources": {"limits": {"cpu": "64"}}}]},
    )
    message = space.warning("big")
    assert "exceeded quota: vcluster" in message
    assert "used:" in message
    assert "limited:" in message
    make(space, "Service", "port", spec={"type": "NodePort", "ports": [{"port": 80}], "selector": {"app": "none"}})
    assert "services.nodeports" in space.warning("port")
    size = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Ti"}}}
    make(space, "PersistentVolumeClaim", "vast", spec=size)
    assert "requests.storage" in space.warning("vast")


def with_token(kubeconfig: Path, token: str, target: Path) -> Path:
    """A kubeconfig for the same cluster with this credential and no other."""
    config = yaml.safe_load(kubeconfig.read_text())
    user = config["contexts"][0]["context"]["user"]
    target.touch(mode=0o600)
    target.write_text(yaml.safe_dump({**config, "users": [{"name": user, "user": {"token": token}}]}))
    return target


def test_a_pods_token_is_worth_nothing_on_the_host(hub: Path, space: Space, tmp_path: Path) -> None:
    make(space, "Pod", "holder", spec={"containers": [container("web", "sleep")]})
    space("wait", "pod/holder", "--for=condition=Ready", "--timeout=60s")
    path = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    token = space("exec", "holder", "--", "/web", "cat", path).strip()
    own = with_token(space.kubeconfig, token, tmp_path / "own.yaml")
    whoami = ("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert ran(own, *whoami) == f"system:serviceaccount:{space.name}:default"
    refused = kubectl(with_token(hub, token, tmp_path / "hub.yaml"), "get", "pods")
    assert "Unauthorized" in refused.stderr or "must be logged in" in refused.stderr
