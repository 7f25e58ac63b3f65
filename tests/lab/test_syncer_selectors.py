"""Each selector, null, empty and filled, selects on the host what it selects inside: asked of the real scheduler.

The same pods run in three namespaces of a plain cluster and of a virtual one. Each node carries one of them. Pods that
must be beside what they select, or must not, are offered each of these nodes: where they can run says what is selected.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import kubectl, ran, until
from .syncer_pair import Pair, PairSpace, syncer_pair

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
HOSTNAME = "kubernetes.io/hostname"
TIER = "example.com/tier"
# A namespace by its role, and the labels of a pod in it.
TARGETS = {
    "own-web": ("own", {"app": "web", TIER: "front"}),
    "own-db": ("own", {"app": "db"}),
    "bank-web": ("bank", {"app": "web"}),
    "other-web": ("other", {"app": "web"}),
}
LABELS: dict[str, dict | None] = {
    "nil": None,
    "empty": {},
    "emptied": {"matchLabels": {}, "matchExpressions": []},
    "labels": {"matchLabels": {"app": "web"}},
    "not-in": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]},
    "exists": {"matchExpressions": [{"key": TIER, "operator": "Exists"}]},
    "nobody": {"matchLabels": {"app": "nobody"}},
}
# Namespaces are by role here.
NOT_BANK = {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["bank"]}]}
NAMESPACES: dict[str, dict] = {
    "nil": {},
    "empty-list": {"namespaces": []},
    "named": {"namespaces": ["bank"]},
    "missing": {"namespaces": ["missing"]},
    "empty": {"namespaceSelector": {}},
    "labels": {"namespaceSelector": {"matchLabels": {"team": "bank"}}},
    "not-in": {"namespaceSelector": NOT_BANK},
    "nobody": {"namespaceSelector": {"matchLabels": {"team": "nobody"}}},
    "named-empty": {"namespaces": ["bank"], "namespaceSelector": {}},
    "named-nobody": {"namespaces": ["bank"], "namespaceSelector": {"matchLabels": {"team": "nobody"}}},
    "named-labels": {"namespaces": ["bank"], "namespaceSelector": {"matchLabels": {"team": "other"}}},
}
# What that says. The plain cluster is asked for this, because the scheduler of Kubernetes 1.34 to 1.36 takes a selector
# of NotIn for any (mergeAffinityTermNamespacesIfNotEmpty gets the term by value). The syncer names the namespaces.
NOT_IN = {"namespaces": ["own", "other"]}
KINDS = ("podAffinity", "podAntiAffinity", "spread")
# Two of each on its node: more than a pod that spreads may find in one place, if it counts itself or not.
REPLICAS = 2
CELLS = [(kind, labels, target) for kind in KINDS for labels in LABELS for target in TARGETS]
# Nodes here have no kubelet that would say that they are ready.
TOLERATIONS = [{"key": f"node.kubernetes.io/{one}", "operator": "Exists"} for one in ("not-ready", "unreachable")]
SELECTORS = {"LabelSelector", "NodeSelector", "NodeSelectorTerm"}
# In the API's schema, all fields of what is copied to the host that select objects.
PLACES = {
    "PersistentVolumeClaimSpec.selector",  # refused, see test_syncer_claims.py
    "PodAffinityTerm.labelSelector",
    "PodAffinityTerm.namespaceSelector",
    "TopologySpreadConstraint.labelSelector",
    "ClusterTrustBundleProjection.labelSelector",  # not offered (volumes.py)
    "NodeAffinity.requiredDuringSchedulingIgnoredDuringExecution",  # passed on as they are
    "PreferredSchedulingTerm.preference",
    "NodeSelector.nodeSelectorTerms",
    "PodSpec.nodeSelector",
    "ServiceSpec.selector",
}


@dataclasses.dataclass(frozen=True)
class Side:
    """One of the two clusters, and its namespaces by their roles."""

    kubeconfig: Path
    nodes: str
    names: dict[str, str]

    def create(self, *objects: dict) -> None:
        ran(self.kubeconfig, "create", "-f", "-", stdin=json.dumps(_list(objects)))

    def pods(self, role: str) -> list[dict]:
        return json.loads(ran(self.kubeconfig, "get", "pods", "-A", "-l", f"role={role}", "-o", "json"))["items"]

    def node(self, cell: tuple[str, str, str]) -> str:
        return "-".join((self.nodes, *cell)).lower()

    def pod(self, name: str, namespace: str, labels: dict, **spec: Any) -> dict:
        resources = {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}}
        container = {"name": "a", "image": "docker.io/lab/web:1", "resources": resources}
        metadata = {"name": name.lower(), "namespace": self.names[namespace], "labels": labels}
        spec = {"containers": [container], "tolerations": TOLERATIONS, **spec}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def probe(self, cell: tuple[str, str, str], namespaces: dict) -> dict:
        """May only run on the node of this cell, and only if the selector lets it."""
        kind, labels, _target = cell
        place = {"key": "metadata.name", "operator": "In", "values": [self.node(cell)]}
        affinity: dict = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchFields": [place]}]}}}
        term = {"topologyKey": HOSTNAME}
        if LABELS[labels] is not None:
            term["labelSelector"] = LABELS[labels]
        spec = {}
        if kind == "spread":
            whole = {"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "nodeAffinityPolicy": "Ignore"}
            spec["topologySpreadConstraints"] = [{**term, **whole}]
        else:
            named = {"namespaces": [self.names[one] for one in _names(namespaces)]} if _names(namespaces) else {}
            affinity[kind] = {REQUIRED: [{**term, **namespaces, **named}]}
        # A name of its own: the scheduler may know an earlier one for a while.
        name = "-".join((*cell, uuid.uuid4().hex[:4]))
        return self.pod(name, "own", {"app": "web", "role": "probe"}, affinity=affinity, **spec)

    def verdicts(self) -> dict[str, str]:
        """Of each probe of which the scheduler has decided."""
        found = {}
        for pod in self.pods("probe"):
            for condition in pod["status"].get("conditions") or []:
                if condition["type"] == "PodScheduled":
                    found[pod["metadata"]["name"].rpartition("-")[0]] = condition["status"]
        return found


def _names(namespaces: dict) -> list[str]:
    return namespaces.get("namespaces") or []


def _list(objects: Any) -> dict:
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def _namespace(name: str, team: str) -> dict:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": team}}}


def _node(name: str) -> dict:
    room = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    metadata = {"name": name, "labels": {HOSTNAME: name, "of": "selectors"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"capacity": room, "allocatable": room}}


@pytest.fixture(scope="module")
def pair(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    resources = {"cpu": "50", "memory": "100Gi", "storage": "20Gi", "pods": 500, "ephemeral_storage": "1000Gi"}
    with syncer_pair(platform, tmp_path_factory.mktemp("selectors"), resources=resources) as found:
        yield found


@pytest.fixture(scope="module")
def sides(pair: Pair) -> Iterator[tuple[Side, Side]]:
    """The plain cluster is the host itself: its pods and nodes are others than those of the virtual cluster."""
    mark = uuid.uuid4().hex[:6]
    plain, virtual = (
        Side(kubeconfig, f"{name}{mark}", {role: f"{role}-{name}-{mark}" for role in ("own", "bank", "other")})
        for name, kubeconfig in (("plain", pair.host), ("virtual", pair.virtual))
    )
    for side in (plain, virtual):
        side.names["missing"] = "missing"
        side.create(*(_namespace(side.names[role], role) for role in ("own", "bank", "other")))
        for role in ("own", "bank", "other"):
            wait = ("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
            ran(side.kubeconfig, "-n", side.names[role], *wait)
        plain.create(*(_node(side.node(cell)) for cell in CELLS))
        side.create(*_targets(side))
    try:
        for side in (plain, virtual):
            until(lambda side=side: all(one["spec"].get("nodeName") for one in side.pods("target")))
        names = [one["metadata"]["name"] for one in virtual.pods("target")]
        until(lambda: len(_copies(pair, "target")) == len(names), 120)
        until(lambda: all(one["spec"].get("nodeName") for one in _copies(pair, "target")), 120)
        yield plain, virtual
    finally:
        for side in (virtual, plain):
            here = [side.names[role] for role in ("own", "bank", "other")]
            kubectl(side.kubeconfig, "delete", "namespace", *here, "--wait=false")
        _end(pair, plain, virtual, "target")
        kubectl(pair.host, "delete", "nodes", "-l", "of=selectors", "--wait=false")


def _targets(side: Side) -> Iterator[dict]:
    for kind, labels, target in CELLS:
        namespace, given = TARGETS[target]
        for number in range(REPLICAS):
            name, node = f"{kind}-{labels}-{target}-{number}", side.node((kind, labels, target))
            yield side.pod(name, namespace, {**given, "role": "target"}, nodeName=node)


def _copies(pair: Pair, role: str) -> list[dict]:
    return pair.host_api.list("pods", pair.namespace, labelSelector=f"x.tenantry.dev/role={role}")


def _end(pair: Pair, plain: Side, virtual: Side, role: str) -> None:
    """No kubelet would end them."""
    now = ("--force", "--grace-period=0", "--wait=false")
    for side in (plain, virtual):
        for name in set(side.names.values()) - {"missing"}:
            kubectl(side.kubeconfig, "-n", name, "delete", "pods", "-l", f"role={role}", *now)
    until(lambda: all(one["metadata"].get("deletionTimestamp") for one in _copies(pair, role)))
    pair.on_host("delete", "pods", "-l", f"x.tenantry.dev/role={role}", *now)
    until(lambda: not _copies(pair, role))


@pytest.fixture
def compared(pair: Pair, sides: tuple[Side, Side]) -> Iterator[Any]:
    def compare(cells: list[tuple[str, str, str]], namespaces: dict) -> None:
        for side in sides:
            meant = namespaces if side is sides[1] or namespaces is not NAMESPACES["not-in"] else NOT_IN
            side.create(*(side.probe(cell, meant) for cell in cells))
        with contextlib.suppress(AssertionError):  # then what is missing is in the comparison
            until(lambda: all(len(side.verdicts()) == len(cells) for side in sides), 45)
        plain, virtual = (side.verdicts() for side in sides)
        assert len(plain) == len(cells)
        assert set(plain.values()) <= {"True", "False"}
        assert virtual == plain

    yield compare
    _end(pair, *sides, "probe")


@pytest.mark.parametrize("namespaces", NAMESPACES)
def test_a_term_of_affinity_selects_what_it_does_on_a_plain_cluster(compared: Any, namespaces: str) -> None:
    compared([cell for cell in CELLS if cell[0] != "spread"], NAMESPACES[namespaces])


def test_spreading_counts_what_it_does_on_a_plain_cluster(compared: Any) -> None:
    compared([cell for cell in CELLS if cell[0] == "spread"], {})


@pytest.mark.parametrize("selector", [None, {}, {"app": "web"}], ids=["nil", "empty", "filled"])
def test_a_service_selects_what_it_does_on_a_plain_cluster(pair: Pair, selector: dict | None) -> None:
    """Kubernetes' own controller makes slices for a service that selects, even of nothing; others are made by hand."""
    spec = {"ports": [{"port": 80}], **({} if selector is None else {"selector": selector})}
    name = f"svc-{uuid.uuid4().hex[:6]}"
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
    with pair.space() as space:
        pair.host_api.create(service, "default")
        space.api.create(service, space.name)
        try:
            copy = until(lambda: space.found_on_host("services", name))
            if selector:
                until(lambda: _slices(pair, "default", name))
                until(lambda: _slices(pair, pair.namespace, copy["metadata"]["name"]))
            else:
                # Once the controller has come to a later one.
                _wait_for_controller(pair, space)
                assert not _slices(pair, "default", name)
                assert not _slices(pair, pair.namespace, copy["metadata"]["name"])
        finally:
            pair.host_api.delete("services", "default", name)


def _wait_for_controller(pair: Pair, space: PairSpace) -> None:
    later = {"ports": [{"port": 80}], "selector": {"app": "later"}}
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "later"}, "spec": later}
    space.api.create(made, space.name)
    copy = until(lambda: space.found_on_host("services", "later"))
    until(lambda: _slices(pair, pair.namespace, copy["metadata"]["name"]))


def _slices(pair: Pair, namespace: str, service: str) -> list[dict]:
    return pair.host_api.list("endpointslices", namespace, labelSelector=f"kubernetes.io/service-name={service}")


def test_every_selector_of_the_api_is_known(pair: Pair) -> None:
    """What a later Kubernetes selects by is not missed."""
    found: set[str] = set()
    roots = {
        "api/v1": ("PodSpec", "ServiceSpec", "PersistentVolumeClaimSpec"),
        "apis/networking.k8s.io/v1": ("IngressSpec",),
        "apis/discovery.k8s.io/v1": ("EndpointSlice",),
    }
    for group, kinds in roots.items():
        schemas = json.loads(ran(pair.virtual, "get", "--raw", f"/openapi/v3/{group}"))["components"]["schemas"]
        for name in schemas:
            if name.rpartition(".")[2] in kinds:
                found |= _selectors(schemas, name, set())
    assert found == PLACES


def _selectors(schemas: dict, name: str, seen: set[str]) -> set[str]:
    if name in seen or name.endswith(("ObjectMeta", "LabelSelector", "NodeSelectorTerm")):
        return set()
    seen.add(name)
    found: set[str] = set()
    for field, schema in (schemas[name].get("properties") or {}).items():
        referred = {one.rpartition("/")[2] for one in _references(schema)}
        kinds = {one.rpartition(".")[2] for one in referred}
        selects = field.lower().endswith("selector") or kinds & SELECTORS
        if selects and kinds <= SELECTORS:
            found.add(f"{name.rpartition('.')[2]}.{field}")
        for one in referred:
            found |= _selectors(schemas, one, seen)
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for one in schema:
            yield from _references(one)
