"""A namespace inside a virtual cluster of the demo, as its administrator, and what the host has of it."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .harness import DEMO, kubectl, ran, until, until_in

COPY = "app.kubernetes.io/managed-by=tenantry-syncer"
COPIES = "pods,services,configmaps,secrets,persistentvolumeclaims,endpointslices,ingresses"
WAIT = "--timeout=120s"
DEDICATED = "research--lab"  # the one of the demo
# What has a status that somebody inside reads, or may say in its own what a pod's says.
WITH_STATUS = (
    *("events", "pods", "services", "persistentvolumeclaims", "ingresses"),
    *("deployments", "replicasets", "statefulsets", "daemonsets", "jobs"),
)
_HASHED = re.compile(r"[a-z0-9][a-z0-9-]*-[0-9a-f]{16}(?![0-9a-f])")
# For what differs little: that a node of the lab's own kubelet does the same is asked in `make nightly`.
IN_BOTH_MODES = [
    pytest.param("payments--dev", id="shared"),
    pytest.param(DEDICATED, id="dedicated", marks=pytest.mark.nightly),
]


@dataclass(frozen=True)
class Space:
    vcluster: str
    name: str

    @property
    def kubeconfig(self) -> Path:
        return DEMO / f"vclusters/{self.vcluster}.yaml"

    @property
    def shared(self) -> bool:
        return self.vcluster != DEDICATED

    def try_(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return kubectl(self.kubeconfig, "-n", self.name, *arguments, stdin=stdin)

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        return ran(self.kubeconfig, "-n", self.name, *arguments, stdin=stdin)

    def json(self, *arguments: str) -> dict:
        return json.loads(self("get", *arguments, "-o", "json"))

    def create(self, *objects: dict) -> None:
        self("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def in_client(self, *words: str) -> str:
        """What the lab's program `web` prints in the pod `client`."""
        return self("exec", "client", "--", "/web", *words).strip()

    def warning(self, name: str) -> str:
        """What is told about an object that something is wrong with, once it is."""
        return until(lambda: self._warnings(name))

    def told(self, words: str, pod: str, seconds: float = 60) -> None:
        """Wait until a pod's warnings or its status say so."""
        until_in(words, lambda: self._warnings(pod) + str(self.json("pod", pod)["status"]), seconds)

    def _warnings(self, name: str) -> str:
        selector = f"involvedObject.name={name},type=Warning"
        return self("get", "events", "--field-selector", selector, "-o", "jsonpath={.items[*].message}")

    def messages(self) -> list[dict]:
        """All events, and all that has a status."""
        return self.json(",".join(WITH_STATUS))["items"]

    def check_messages(self) -> None:
        """Nothing that is said inside has a name that only the host knows: of the namespace, or of a copy there."""
        found = set()
        for one in self.messages() if self.shared else ():
            said = json.dumps({**one, "metadata": None} if one["kind"] == "Event" else one.get("status"))
            words = [self.vcluster, *_HASHED.findall(said)] if self.vcluster in said else _HASHED.findall(said)
            found |= {(one["kind"], one["metadata"]["name"], word, said) for word in words}
        assert not found

    def copies(self, hub: Path, kinds: str = COPIES) -> list[dict]:
        """The objects on the host that stand for objects of this namespace."""
        listed = ran(hub, "-n", self.vcluster, "get", kinds, "-l", COPY, "-o", "json")
        # The host's own slices have the labels of their Service, but not its annotations.
        return [one for one in json.loads(listed)["items"] if note(one, "namespace") == self.name]

    def copy_of(self, hub: Path, kind: str, name: str) -> dict | None:
        return next((one for one in self.copies(hub, kind) if name_inside(one) == name), None)


def name_inside(copy: dict) -> str:
    """What an object on the host stands for."""
    return note(copy, "name")


def note(copy: dict, key: str) -> str:
    return (copy["metadata"].get("annotations") or {}).get(f"tenantry.dev/{key}", "")


@contextlib.contextmanager
def made_space(vcluster: str, purpose: str) -> Iterator[Space]:
    """A namespace of its own for a test, gone afterwards."""
    space = Space(vcluster, f"{purpose}-{uuid.uuid4().hex[:6]}")
    space("create", "namespace", space.name)
    try:
        # In a virtual cluster that has just started, pods that come before it are refused.
        space("wait", "--for=create", "serviceaccount/default", WAIT)
        yield space
        space.check_messages()
    finally:
        space("delete", "namespace", space.name, "--ignore-not-found", WAIT)


@contextlib.contextmanager
def volumes(space: Space, sizes: dict[str, str]) -> Iterator[None]:
    """For claims and their sizes. In mode shared the host has them; nodes of one's own come without a class."""
    made = [] if space.shared else [_volume(space, claim, size) for claim, size in sizes.items()]
    if made:
        space.create(*made)
    try:
        yield
    finally:
        for volume in made:
            space("delete", "persistentvolume", volume["metadata"]["name"], "--wait=false")


def _volume(space: Space, claim: str, size: str) -> dict:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": size},
        "claimRef": {"namespace": space.name, "name": claim},
        "hostPath": {"path": f"/var/lib/{space.name}/{claim}", "type": "DirectoryOrCreate"},
    }
    metadata = {"name": f"{space.name}-{claim}"}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}
