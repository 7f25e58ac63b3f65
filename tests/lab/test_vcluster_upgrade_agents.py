"""Another release of k3s for a virtual cluster with nodes of its own: the server first, then one agent after the other.

Every night from the minor release before to the lab's own, and back. The tests go on from one another.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from .harness import MIRROR, ModuleResult, kubectl, lab, ran, run_module, until
from .tenantry_lab.config import OLDER_VERSION
from .test_vcluster import version

TENANT, NAME = "rig", "mast"
NAMESPACE = f"{TENANT}--{NAME}"
AGENTS = ("agent-0", "agent-1")
PORT = 30080

pytestmark = pytest.mark.nightly

# A node leads to its own pod only, so that each can be asked by itself, as load balancers ask for health.
WEB = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {len(AGENTS)}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - {{topologyKey: kubernetes.io/hostname, labelSelector: {{matchLabels: {{app: web}}}}}}
      containers:
        - name: web
          image: docker.io/lab/web:1
          args: [serve]
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  type: NodePort
  externalTrafficPolicy: Local
  selector: {{app: web}}
  ports: [{{port: 8080, nodePort: {PORT}}}]
"""


@dataclass
class Rig:
    hub: Path
    kubeconfig: Path

    def run(self, release: str, **options: Any) -> ModuleResult:
        return run_module(
            "vcluster",
            kubeconfig=self.hub,
            tenant=TENANT,
            name=NAME,
            version=release,
            mode="dedicated",
            agents=len(AGENTS),
            agent={"cpu": "500m", "memory": "1Gi"},
            registries={"mirrors": {"docker.io": {"endpoint": [MIRROR]}}},
            expose={"type": "NodePort"},
            kubeconfig_path=self.kubeconfig,
            **options,
        )

    def reverted(self) -> ModuleResult:
        return run_module("vcluster_snapshot", kubeconfig=self.hub, tenant=TENANT, name=NAME, state="rolled_back")

    def inside(self, *arguments: str, stdin: str | None = None) -> str:
        return ran(self.kubeconfig, "--request-timeout=5s", *arguments, stdin=stdin)

    def has(self, kind: str, name: str) -> bool:
        return bool(self.inside("get", kind, name, "--ignore-not-found", "-o", "name"))

    def api_server(self) -> str:
        return json.loads(self.inside("get", "--raw", "/version"))["gitVersion"]

    def kubelets(self) -> dict[str, str]:
        nodes = json.loads(self.inside("get", "nodes", "-o", "json"))["items"]
        return {node["metadata"]["name"]: node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes}

    def serves(self, agent: str) -> bool:
        """Whether the pod on that node answers, asked by the host."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{agent}:{PORT}/proxy/"
        return kubectl(self.hub, "get", "--raw", path, "--request-timeout=1s").returncode == 0

    def all_serve(self) -> bool:
        return all(self.serves(agent) for agent in AGENTS)

    def images(self) -> dict[str, str]:
        """Of server and agents on the host, without those that have been told to end."""
        pods = json.loads(ran(self.hub, "get", "pods", "-n", NAMESPACE, "-o", "json"))["items"]
        parts = [pod for pod in pods if pod["metadata"]["name"] in ("server-0", *AGENTS)]
        staying = [pod for pod in parts if "deletionTimestamp" not in pod["metadata"]]
        return {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in staying}

    def life(self, pod: str) -> tuple[datetime, datetime]:
        """When a pod of the host was made, and when it was ready."""
        found = json.loads(ran(self.hub, "get", "pod", pod, "-n", NAMESPACE, "-o", "json"))
        ready = next(one for one in found["status"]["conditions"] if one["type"] == "Ready")
        made = found["metadata"]["creationTimestamp"], ready["lastTransitionTime"]
        return datetime.fromisoformat(made[0]), datetime.fromisoformat(made[1])


@pytest.fixture(scope="module")
def rig(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A virtual cluster of the older release with two agents and a pod that answers on each."""
    lab("build", "--k3s", OLDER_VERSION)
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    assert not run_module("tenant_quota", **tenant, quota={"vclusters": 1}).failed
    rig = Rig(hub, tmp_path_factory.mktemp("rig") / "mast.yaml")
    made = rig.run(OLDER_VERSION)
    assert not made.failed, made.msg
    rig.inside("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    rig.inside("create", "-f", "-", stdin=WEB)
    rig.inside("create", "secret", "generic", "from-before", "--from-literal=word=horse")
    until(rig.all_serve, 120)
    yield rig
    assert not run_module("vcluster", **tenant, name=NAME, state="absent").failed
    assert not run_module("tenant_quota", **tenant, state="absent").failed


@dataclass
class Seen:
    """While the release changed: when a node's pod did not answer, and agents that were newer than the server."""

    asked: int = 0
    lost: int = 0
    silences: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {agent: [] for agent in AGENTS})
    too_new: list[dict[str, int]] = field(default_factory=list)

    @property
    def nobody(self) -> float:
        """Seconds for which none of them answered, from the last good answer to the next."""
        one, other = (self.silences[agent] for agent in AGENTS)
        return sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in one for b in other)


@contextmanager
def watched(rig: Rig) -> Iterator[Seen]:
    """Until all of them answer again."""
    seen, over = Seen(), threading.Event()

    def ask(agent: str) -> None:
        last, silent = time.monotonic(), False
        while not over.wait(0.1):
            answered = rig.serves(agent)
            seen.asked += 1
            seen.lost += not answered
            if answered and silent:
                seen.silences[agent].append((last, time.monotonic()))
            if answered:
                last = time.monotonic()
            silent = not answered

    def compare() -> None:
        while not over.wait(0.2):
            minors = {name: int(re.search(r":v1\.(\d+)\.", image)[1]) for name, image in rig.images().items()}
            if "server-0" in minors and max(minors.values()) > minors["server-0"]:
                seen.too_new.append(minors)

    with ThreadPoolExecutor() as pool:
        threads = [*(pool.submit(ask, agent) for agent in AGENTS), pool.submit(compare)]
        try:
            yield seen
            until(rig.all_serve, 120)
        finally:
            over.set()
        for one in threads:
            one.result()


def test_up_with_one_agent_serving_at_every_moment(rig: Rig) -> None:
    old, new = OLDER_VERSION, version(rig.hub)
    assert (rig.api_server(), rig.kubelets()) == (old, dict.fromkeys(AGENTS, old))
    predicted = rig.run(new, check=True)
    with watched(rig) as seen:
        upgraded = rig.run(new)
        assert not upgraded.failed, upgraded.msg
        assert (rig.api_server(), rig.kubelets()) == (new, dict.fromkeys(AGENTS, new)), "it has waited for all"
    print(f"{seen.lost} of {seen.asked} requests to single agents were lost, {seen.nobody:.1f} s without any: {seen}")
    assert upgraded.data["actions"] == predicted.data["actions"]
    assert upgraded.data["nodes"] == "2/2"

    (_made, server), (made_0, _ready), (made_1, ready_1) = (rig.life(pod) for pod in ("server-0", *AGENTS))
    assert server <= made_1 < ready_1 < made_0
    assert seen.too_new == []
    assert all(seen.silences.values()), "they were asked too seldom to see that a node goes and comes"
    assert seen.nobody == 0
    assert rig.inside("get", "secret", "from-before", "-o", "jsonpath={.data.word}") == "aG9yc2U="
    assert not rig.run(new).changed


def test_back_with_agents_that_are_never_newer_than_the_server(rig: Rig) -> None:
    old = OLDER_VERSION
    rig.inside("create", "configmap", "from-after")
    with watched(rig) as seen:
        back = rig.reverted()
        assert not back.failed, back.msg
        again = rig.run(old)  # waits for the nodes
        assert (again.failed, again.changed) == (False, False), again.msg
        assert (rig.api_server(), rig.kubelets()) == (old, dict.fromkeys(AGENTS, old))
    print(f"{seen.lost} of {seen.asked} requests to single agents were lost, {seen.nobody:.1f} s without any: {seen}")
    assert seen.too_new == []
    assert rig.has("secret", "from-before")
    assert not rig.has("configmap", "from-after")
