"""What containers of the servers and syncers use, by the kubelet; and what an idle syncer asks of the host."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ..lab.harness import kubectl
from .vclusters import HUB

PODS = ("server-0", "syncer-0")
SETTLING_SECONDS = 60
IDLE_SECONDS = 300  # as long as the watches of a syncer, which all end at about the same time


@dataclass(frozen=True)
class Usage:
    working_set: float  # MiB
    rss: float  # MiB
    cpu: float  # seconds so far
    at: float  # seconds since the epoch at which the kubelet looked: up to some ten before now

    def core_since(self, before: Usage) -> float:
        """Percent of a core."""
        return 100 * (self.cpu - before.cpu) / (self.at - before.at)


def usage(container: str) -> dict[str, Usage]:
    """Of that container in the server or syncer of each virtual cluster, by its namespace on the host."""
    node = _hub("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    stats = json.loads(_hub("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
    return {
        pod["podRef"]["namespace"]: Usage(
            working_set=one["memory"]["workingSetBytes"] / 2**20,
            rss=one["memory"]["rssBytes"] / 2**20,
            cpu=one["cpu"]["usageCoreNanoSeconds"] / 1e9,
            at=datetime.fromisoformat(one["cpu"]["time"]).timestamp(),
        )
        for pod in stats["pods"]
        for one in pod.get("containers", [])
        if one["name"] == container and "--" in pod["podRef"]["namespace"] and pod["podRef"]["name"] in PODS
    }


def _usage_from(container: str, moment: float) -> dict[str, Usage]:
    """The usage at that moment or later: the kubelet looks every ten seconds or so, and tells what it saw last."""
    found = usage(container)
    while any(one.at < moment for one in found.values()):
        time.sleep(1)  # statistics cannot be watched
        found = usage(container)
    return found


def memory(container: str) -> None:
    for name, one in usage(container).items():
        print(
            f"idle memory of {name}: {one.working_set:.0f} MiB working set of the container {container}, by the kubelet"
        )


def settled(container: str, namespace: str) -> float:
    """MiB working set of a container a minute from now, when its start is over."""
    return _usage_from(container, time.time() + SETTLING_SECONDS)[namespace].working_set


def syncers() -> None:
    """Some minutes in which nobody asks anything of any virtual cluster."""
    before = _usage_from("syncer", time.time())
    with _counted(list(before)):
        # A request belongs to a flow from when it began: the watches that are open do not count, their renewals do.
        asked, start = _requests(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        minutes = (time.monotonic() - start) / 60
        requests = {name: (count - asked.get(name, 0)) / minutes for name, count in _requests().items()}
    for name, one in usage("syncer").items():
        if name in before:
            print(
                f"idle syncer of {name}: {one.working_set:.0f} MiB working set, {one.rss:.0f} MiB RSS, "
                f"{one.core_since(before[name]):.2f} % of a core over {one.at - before[name].at:.0f} s, "
                f"{requests.get(name, 0):.1f} requests a minute to the host's API server",
                flush=True,
            )


@contextlib.contextmanager
def _counted(namespaces: list[str]) -> Iterator[None]:
    """With a flow of its own for each syncer, at the priority it has anyway: API servers count requests by flow."""
    names = [f"bench-{namespace}" for namespace in namespaces]
    schemas = [_flow_schema(name, namespace) for name, namespace in zip(names, namespaces, strict=True)]
    _hub("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": schemas}))
    try:
        yield
    finally:
        _hub("delete", "flowschemas", *names)


def _flow_schema(name: str, namespace: str) -> dict:
    account = {"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": "syncer"}}
    anything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    rule = {
        "subjects": [account],
        "resourceRules": [anything],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }
    return {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": name},
        "spec": {
            "matchingPrecedence": 8000,
            "priorityLevelConfiguration": {"name": "workload-low"},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [rule],
        },
    }


def _requests() -> dict[str, float]:
    """Requests so far, by the namespace of the syncer."""
    counter = r'apiserver_flowcontrol_dispatched_requests_total\{flow_schema="bench-([^"]+)"[^}]*\} (\S+)'
    return {name: float(count) for name, count in re.findall(counter, _hub("get", "--raw", "/metrics"))}


def _hub(*arguments: str, stdin: str | None = None) -> str:
    run = kubectl(HUB, *arguments, stdin=stdin)
    if run.returncode:
        raise SystemExit(f"bench: kubectl {' '.join(arguments)}: {run.stderr.strip()}")
    return run.stdout
