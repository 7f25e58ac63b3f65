"""A virtual cluster on a host, as far as admission policies look: its namespace, and what stands in it.

Who acts there: a stranger whom RBAC refuses nothing, the syncer, an operator, an administrator.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac

from ..harness import call_module, kubectl, ran, until
from ..people import add_vcluster, labels_of
from .conftest import connect
from .sweep import MERGE, Request, answer_of

SPACE = "payments--dev"
OURS = labels_of("payments", "dev")
COPY = {"app.kubernetes.io/managed-by": "tenantry-syncer"}
HERE, DEFAULT = f"/api/v1/namespaces/{SPACE}", "/api/v1/namespaces/default"
APPS, RBAC, NETWORKING = "/apis/apps/v1", "/apis/rbac.authorization.k8s.io/v1", "/apis/networking.k8s.io/v1"
POLICIES = ("tenantry-objects", "tenantry-pods", "tenantry-syncers", "tenantry-vclusters")
CONTAINER = {"name": "web", "image": "web"}
DRY = "?dryRun=All"
DENIED = "denied request"
# What administrators offer this virtual cluster.
OFFERS = {
    "tenantry.dev/ingress-classes": "web",
    "tenantry.dev/ingress-hosts": "*.dev.example.com,dev.example.org",
    "tenantry.dev/storage-classes": "fast,slow",
}


class Change(NamedTuple):
    method: str
    path: str
    body: Any = None
    content: str = "application/json"

    def by(self, who: Cluster, headers: dict | None = None) -> tuple[int, str]:
        request = Request(self.method, self.path + DRY, None if self.body is None else self.content, self.path)
        return answer_of(who, request, self.body, headers)


def made(kind: str, path: str, *, labels: dict | None = None, api: str = "v1", **content: Any) -> Change:
    return Change("POST", path, {"apiVersion": api, "kind": kind, "metadata": meta("probe", labels), **content})


def meta(name: str, labels: dict | None = None) -> dict:
    return {"name": name, "labels": labels or {}}


def merged(path: str, body: dict) -> Change:
    return Change("PATCH", path, body, MERGE)


def labelled(**labels: str) -> dict:
    return {"metadata": {"labels": labels}}


@dataclass(frozen=True)
class Host:
    kubeconfig: Path
    admin: Cluster
    stranger: Cluster
    syncer: Cluster
    operator: Cluster

    def create(self, *objects: dict) -> None:
        create(self.kubeconfig, *objects)

    @contextmanager
    def without(self, *policies: str) -> Iterator[None]:
        """For mutation controls. The next run puts the bindings back, and says so."""
        ran(self.kubeconfig, "delete", "validatingadmissionpolicybinding", *policies)
        try:
            yield
        finally:
            repaired = call_module("platform", kubeconfig=self.kubeconfig)
        assert {action["name"] for action in repaired.data["actions"]} == set(policies)


def create(kubeconfig: Path, *objects: dict) -> None:
    ran(kubeconfig, "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def account(
    kubeconfig: Path, namespace: str, name: str, rules: list[dict] | str, *, only_in: str | None = None
) -> Cluster:
    """A new ServiceAccount with these rights, or a ClusterRole, in all of the cluster or one namespace, as a client."""
    api, group = "rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
    metadata = {"name": f"test-{name}", "labels": {"test": "admission"}}
    role = {"kind": "ClusterRole", "apiGroup": group, "name": rules if isinstance(rules, str) else metadata["name"]}
    subject = {"kind": "ServiceAccount", "namespace": namespace, "name": name}
    binding = {"apiVersion": api, "kind": "ClusterRoleBinding", "metadata": metadata}
    if only_in:
        binding |= {"kind": "RoleBinding", "metadata": {**metadata, "namespace": only_in}}
    objects = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}},
        {**binding, "roleRef": role, "subjects": [subject]},
    ]
    if not isinstance(rules, str):
        objects.append({"apiVersion": api, "kind": "ClusterRole", "metadata": metadata, "rules": rules})
    create(kubeconfig, *objects)
    return connect(kubeconfig, connect(kubeconfig).token_request(namespace, name, seconds=3600, bound_secret=None)[0])


def everything() -> list[dict]:
    groups = ["", *(f"{name}.k8s.io" for name in ("networking", "rbac.authorization", "scheduling")), "apps", "policy"]
    return [{"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}]


def remove_accounts(kubeconfig: Path, *names: str) -> None:
    for name in names:
        for kind in ("clusterrole", "clusterrolebinding", "rolebinding"):
            kubectl(kubeconfig, "delete", kind, f"test-{name}", "-n", SPACE, "--ignore-not-found")
    kubectl(kubeconfig, "delete", "serviceaccount", "-n", "default", *names, "--ignore-not-found")


@contextmanager
def host_of(platform: Path) -> Iterator[Host]:
    assert not call_module("tenant_quota", kubeconfig=platform, tenant="payments").failed
    add_vcluster(platform, "payments", "dev")
    ran(platform, "label", "namespace", SPACE, "tenantry.dev/tier=dev")
    ran(platform, "annotate", "namespace", SPACE, *(f"{key}={value}" for key, value in OFFERS.items()))
    account(platform, SPACE, "syncer", [*rbac.SYNCER, *everything()])
    _apply_guest_objects(platform)
    # As a pod has it: bound to the pod, which says so in each of its requests.
    until(lambda: kubectl(platform, "get", "pod", "syncer-0", "-n", SPACE).returncode == 0, 20)
    token = ran(
        platform, *f"create token syncer -n {SPACE} --bound-object-kind Pod --bound-object-name".split(), "syncer-0"
    )
    found = Host(
        kubeconfig=platform,
        admin=connect(platform),
        stranger=account(platform, "default", "stranger", everything()),
        syncer=connect(platform, token.strip()),
        operator=account(platform, "default", "operator", rbac.HUB[rbac.PLATFORM_OPERATOR]),
    )
    priority = Change("DELETE", "/apis/scheduling.k8s.io/v1/priorityclasses/tenantry-prod")
    until(lambda: priority.by(found.stranger)[0] == 403, 10)  # the policies hold
    copy = merged(f"{HERE}/secrets/copy", {"data": {"a": "eA=="}})
    until(lambda: copy.by(found.syncer)[0] == 200, 10)  # the rights too
    try:
        yield found
    finally:
        remove_accounts(platform, "stranger", "operator", "syncer")
        # A namespace that is not empty at once is looked at again much later.
        ran(platform, "delete", "statefulset", "server", "syncer", "-n", SPACE, "--cascade=foreground")
        ran(platform, "delete", "namespace,runtimeclass", SPACE, "other", "--ignore-not-found")
        removed = call_module("tenant_quota", kubeconfig=platform, tenant="payments", state="absent")
        assert not removed.failed, removed.msg


def _apply_guest_objects(platform: Path) -> None:
    space = {"namespace": SPACE, "labels": OURS}
    ports = {"ports": [{"port": 6443}], "selector": {"app": "server"}}
    size = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "none"}
    create(
        platform,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "join-token", **space}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", **space}, "spec": ports},
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "vcluster", **space},
            "spec": {"hard": {"pods": "20"}},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data-server-0", **space},
            "spec": size,
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "pods", **space}},
        _stateful_set("server"),
        _stateful_set("syncer"),
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "copy", "namespace": SPACE, "labels": COPY}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "others", "namespace": SPACE}},
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "other"}, "handler": "other"},
    )


def _stateful_set(name: str) -> dict:
    labels = {**OURS, "app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [CONTAINER], "serviceAccountName": "syncer"}}
    spec = {"replicas": 1, "serviceName": "api", "selector": {"matchLabels": {"app": name}}, "template": template}
    metadata = {"name": name, "namespace": SPACE, "labels": OURS}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}
