"""Claims and storage classes: what is offered is shown inside, and a claim grows where its class lets it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import RELEASE, kubectl, minor_of, ran, until
from .syncer_pair import Pair, PairSpace, syncer_pair

DEFAULT = "storageclass.kubernetes.io/is-default-class"
OURS = "app.kubernetes.io/managed-by"


def storage_class(name: str, **fields: Any) -> dict:
    default = fields.pop("default", False)
    metadata = {"name": name, "annotations": {DEFAULT: "true"} if default else {}}
    given = {"provisioner": "csi.example.com", "parameters": {"secret": "of-the-host"}, **fields}
    return {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata, **given}


FAST = storage_class("fast", allowVolumeExpansion=True, volumeBindingMode="WaitForFirstConsumer", default=True)
SLOW = storage_class("slow", reclaimPolicy="Retain")
SECRET = storage_class("secret")


@pytest.fixture(scope="module")
def pair(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("claims")
    with syncer_pair(platform, directory, storage_classes=["fast", "later", "slow"]) as found:
        found.set_storage_classes(FAST, SLOW, SECRET)
        ran(found.host, "create", "-f", "-", stdin=json.dumps(_list(FAST, SLOW)))
        try:
            yield found
        finally:
            ran(found.host, "delete", "storageclass", "fast", "slow")


@pytest.fixture(scope="module")
def space(pair: Pair) -> Iterator[PairSpace]:
    with pair.space("claims") as found:
        until(lambda: set(classes(pair)) >= {"fast", "slow"})
        yield found


def _list(*objects: dict) -> dict:
    return {"apiVersion": "v1", "kind": "List", "items": objects}


def classes(pair: Pair) -> dict[str, dict]:
    found = json.loads(ran(pair.virtual, "get", "storageclasses", "-o", "json"))["items"]
    return {one["metadata"]["name"]: one for one in found}


def brief(one: dict) -> tuple:
    is_default = (one["metadata"].get("annotations") or {}).get(DEFAULT) == "true"
    return one.get("allowVolumeExpansion", False), one["reclaimPolicy"], one["volumeBindingMode"], is_default


SHOWN = {
    "fast": (True, "Delete", "WaitForFirstConsumer", True),
    "slow": (False, "Retain", "Immediate", False),
}


def shown(pair: Pair) -> dict[str, tuple]:
    return {name: brief(one) for name, one in classes(pair).items() if OURS in (one["metadata"].get("labels") or {})}


def make(space: PairSpace, name: str, size: str = "1Gi", **spec: Any) -> None:
    whole = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    metadata = {"name": name}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": whole}
    space.api.create(claim, space.name)


def bind(pair: Pair, space: PairSpace, name: str, storage: str) -> str:
    """What the host's provisioner would do; the name of the copy."""
    copy = until(lambda: space.found_on_host("persistentvolumeclaims", name))["metadata"]["name"]
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "storageClassName": storage,
        "claimRef": {"namespace": pair.namespace, "name": copy},
        "hostPath": {"path": "/nowhere"},
    }
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": copy}, "spec": spec}
    pair.on_host("create", "-f", "-", stdin=json.dumps(volume))
    until(lambda: space.get("persistentvolumeclaims", name)["status"].get("phase") == "Bound")
    return copy


def grow(space: PairSpace, name: str, size: str) -> Any:
    change = json.dumps({"spec": {"resources": {"requests": {"storage": size}}}})
    return space.try_("patch", "pvc", name, "--type=merge", "-p", change)


def size_on_host(pair: Pair, copy: str) -> str:
    claim = pair.host_api.get("persistentvolumeclaims", pair.namespace, copy)
    return claim["spec"]["resources"]["requests"]["storage"]


@pytest.mark.usefixtures("space")
def test_offered_classes_are_shown_and_kept_current(pair: Pair) -> None:
    until(lambda: shown(pair) == SHOWN)
    assert all("parameters" not in one for one in classes(pair).values())
    try:
        pair.set_storage_classes({**FAST, "allowVolumeExpansion": False}, {**SLOW, "reclaimPolicy": "Delete"}, SECRET)
        changed = {"fast": (False, *SHOWN["fast"][1:]), "slow": (False, "Delete", "Immediate", False)}
        until(lambda: shown(pair) == changed)
        pair.set_storage_classes(SLOW, storage_class("later", allowVolumeExpansion=True))
        added = {"slow": SHOWN["slow"], "later": (True, "Delete", "Immediate", True)}
        until(lambda: shown(pair) == added)
    finally:
        pair.set_storage_classes(FAST, SLOW, SECRET)
    until(lambda: shown(pair) == SHOWN)


def _patched(pair: Pair, change: dict) -> None:
    ran(pair.virtual, "patch", "storageclass", "slow", "--type=merge", "-p", json.dumps(change))


def _replaced(pair: Pair, _change: dict) -> None:
    ran(pair.virtual, "delete", "storageclass", "slow")
    other = storage_class("slow", provisioner="tenant.example.com", allowVolumeExpansion=True, default=True)
    kubectl(pair.virtual, "create", "-f", "-", stdin=json.dumps(other))


@pytest.mark.parametrize(
    ("how", "change"),
    [
        (_patched, {"allowVolumeExpansion": True}),
        (_patched, {"metadata": {"annotations": {DEFAULT: "true"}}}),
        (_patched, {"metadata": {"labels": {OURS: None}}}),
        (_replaced, {}),
    ],
)
@pytest.mark.usefixtures("space")
def test_what_a_tenant_changes_of_an_offered_class_is_undone(pair: Pair, how: Any, change: dict) -> None:
    until(lambda: shown(pair) == SHOWN)
    how(pair, change)
    until(lambda: shown(pair) == SHOWN)
    assert "parameters" not in classes(pair)["slow"]


def test_a_tenants_own_class_stays_and_is_refused(pair: Pair, space: PairSpace) -> None:
    own = storage_class("own", provisioner="tenant.example.com")
    ran(pair.virtual, "create", "-f", "-", stdin=json.dumps(own))
    try:
        make(space, "of-own", storageClassName="own")
        until(lambda: space.told("of-own", "own is not offered. Use fast or later or slow"))
        assert not space.found_on_host("persistentvolumeclaims", "of-own")
        assert classes(pair)["own"]["provisioner"] == "tenant.example.com"
    finally:
        ran(pair.virtual, "delete", "storageclass", "own")


def test_a_claim_without_a_class_gets_the_default(space: PairSpace) -> None:
    make(space, "plain")
    copy = until(lambda: space.found_on_host("persistentvolumeclaims", "plain"))
    assert copy["spec"]["storageClassName"] == "fast"
    assert space.get("persistentvolumeclaims", "plain")["spec"]["storageClassName"] == "fast"


def test_a_claim_with_the_older_annotation_gets_its_class(space: PairSpace) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "noted", "annotations": {"volume.beta.kubernetes.io/storage-class": "slow"}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
    space.api.create(claim, space.name)
    copy = until(lambda: space.found_on_host("persistentvolumeclaims", "noted"))
    assert copy["spec"]["storageClassName"] == "slow"


def test_a_claim_that_was_made_before_its_class_was_shown_can_grow(pair: Pair, space: PairSpace) -> None:
    """One of an older platform has no class inside."""
    pair.set_storage_classes()
    try:
        until(lambda: not shown(pair))
        make(space, "older")
        until(lambda: space.get("persistentvolumeclaims", "older")["spec"].get("storageClassName") == "fast")
    finally:
        pair.set_storage_classes(FAST, SLOW, SECRET)
    until(lambda: shown(pair) == SHOWN)
    copy = bind(pair, space, "older", "fast")
    assert grow(space, "older", "2Gi").returncode == 0
    until(lambda: size_on_host(pair, copy) == "2Gi")


def test_a_claim_grows_where_its_class_lets_it(pair: Pair, space: PairSpace) -> None:
    make(space, "growing", storageClassName="fast")
    copy = bind(pair, space, "growing", "fast")
    assert grow(space, "growing", "3Gi").returncode == 0
    until(lambda: size_on_host(pair, copy) == "3Gi")
    # What the host's resizer says comes back: set, changed, taken away.
    waiting = {"type": "FileSystemResizePending", "status": "True", "message": "waiting for a pod"}
    for conditions, size in (([waiting], "1Gi"), (None, "3Gi")):
        status = {"conditions": conditions, "capacity": {"storage": size}}
        pair.set_status("persistentvolumeclaims", copy, status)
        until(lambda size=size: _capacity(space, "growing") == size)
    until(lambda: "FileSystemResizePending" not in _conditions(space, "growing"))


def _conditions(space: PairSpace, name: str) -> dict[str, str]:
    found = space.get("persistentvolumeclaims", name)["status"].get("conditions") or []
    return {one["type"]: one["status"] for one in found}


def test_whether_a_claim_is_used_is_reported_by_the_pods_inside(pair: Pair, space: PairSpace) -> None:
    """From Kubernetes 1.37 on, a controller on each side does, and the host's does not know a gated pod."""
    if minor_of(RELEASE) < 37:
        pytest.skip("Kubernetes before 1.37 has no such condition")
    make(space, "gated", storageClassName="fast")
    copy = bind(pair, space, "gated", "fast")
    until(lambda: _conditions(space, "gated") == {"Unused": "True"})
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "gated"}}
    spec = {
        "containers": [{"name": "a", "image": "docker.io/lab/web:1"}],
        "volumes": [claim],
        "schedulingGates": [{"name": "example.com/wait"}],
    }
    space.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gated"}, "spec": spec})
    until(lambda: _conditions(space, "gated") == {"Unused": "False"})
    told = pair.host_api.get("persistentvolumeclaims", pair.namespace, copy)["status"].get("conditions") or []
    assert "False" not in [one["status"] for one in told]
    before = space.get("persistentvolumeclaims", "gated")["metadata"]["resourceVersion"]
    make(space, "later", storageClassName="fast")
    bind(pair, space, "later", "fast")
    assert space.get("persistentvolumeclaims", "gated")["metadata"]["resourceVersion"] == before, "nobody writes on"


def _capacity(space: PairSpace, name: str) -> str:
    return space.get("persistentvolumeclaims", name)["status"]["capacity"]["storage"]


def test_a_claim_does_not_grow_where_its_class_does_not_let_it(pair: Pair, space: PairSpace) -> None:
    make(space, "fixed", storageClassName="slow")
    copy = bind(pair, space, "fixed", "slow")
    refused = grow(space, "fixed", "2Gi")
    assert refused.returncode
    assert "must support resize" in refused.stderr
    assert size_on_host(pair, copy) == "1Gi"


def test_growth_that_the_host_refuses_keeps_no_status_away(pair: Pair, space: PairSpace) -> None:
    make(space, "greedy", storageClassName="fast")
    copy = bind(pair, space, "greedy", "fast")
    assert grow(space, "greedy", "500Gi").returncode == 0
    until(lambda: space.told("greedy", "exceeded quota"))
    pair.set_status("persistentvolumeclaims", copy, {"capacity": {"storage": "1100Mi"}})
    until(lambda: _capacity(space, "greedy") == "1100Mi", 8)  # sooner than the refused part is tried again
    assert size_on_host(pair, copy) == "1Gi"
    grow(space, "greedy", "2Gi")


def test_a_volume_that_a_claim_names_is_reported_not_to_be_passed_on(space: PairSpace) -> None:
    make(space, "named", storageClassName="fast", volumeName="pv-1")
    copy = until(lambda: space.found_on_host("persistentvolumeclaims", "named"))
    assert "volumeName" not in copy["spec"]
    until(lambda: space.told("named", "spec.volumeName: pv-1 is not passed on"))


@pytest.mark.parametrize("selector", [{}, {"matchLabels": {"a": "1"}}])
def test_a_claim_that_selects_volumes_is_refused(space: PairSpace, selector: dict) -> None:
    name = "selects-some" if selector else "selects-all"
    make(space, name, storageClassName="fast", selector=selector)
    until(lambda: space.told(name, "spec.selector: not supported"))
    assert not space.found_on_host("persistentvolumeclaims", name)
