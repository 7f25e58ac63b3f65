"""The module notices against a real API server: what it reads there, and that several runs send each notice once."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._notices import reconcile
from ansible_collections.tenantry.kube.plugins.module_utils._notices.due import Facts
from ansible_collections.tenantry.kube.plugins.module_utils._notices.model import Notice
from ansible_collections.tenantry.kube.plugins.module_utils._notices.options import THRESHOLDS, NoticeOptions
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import Sample

from .harness import ModuleResult, call_module, kubectl, ran
from .people import add_vcluster, silent_member

QUOTA = {"cpu": "4", "memory": "8Gi", "storage": "20Gi", "pods": 20, "vclusters": 1}
TARGET = dict.fromkeys(("tenant", "kinds", "token", "ca_path", "to", "digest"))
RUNS, MATTERS = 8, 30


class Receiver:
    """A webhook on this machine."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.messages: list[list[dict[str, Any]]] = []

    def kinds(self) -> list[str]:
        return sorted(one["kind"] for message in self.messages for one in message)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if found.status == 200:
                found.messages.append(body["notices"])
            self.send_response(found.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/secret-path"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def payments(platform: Path, cluster: Any) -> Iterator[Path]:
    """The hub with the tenant payments, whose only virtual cluster expires soon and whose request was denied."""
    made = call_module("tenant_quota", kubeconfig=platform, tenant="payments", quota=QUOTA)
    assert not made.failed, made.msg
    add_vcluster(platform, "payments", "dev", tier="dev", mode="shared", ttl="2d", version="v1.37.2+k3s1")
    meta = {"name": "big", "namespace": "tenant-payments"}
    api = "tenantry.dev/v1alpha1"
    spec = {"requestedBy": "system:admin", "resources": {"cpu": "9", "memory": "1Gi", "pods": 5}}
    request = {"apiVersion": api, "kind": "VirtualClusterRequest", "metadata": meta, "spec": spec}
    ran(platform, "create", "-f", "-", stdin=json.dumps(request))
    status = {"status": {"phase": "Denied", "message": "cpu: 9 is more than <!channel> has left"}}
    where = ("virtualclusterrequest", "big", "-n", "tenant-payments")
    ran(platform, "patch", *where, "--type=merge", "--subresource=status", "-p", json.dumps(status))
    yield platform
    ran(platform, "delete", *where)
    kubectl(platform, "delete", "namespace", "payments--dev")
    removed = call_module("tenant_quota", kubeconfig=platform, tenant="payments", state="absent")
    assert not removed.failed, removed.msg


def run(hub: Path, receiver: Receiver, *, check: bool = False, **target: Any) -> ModuleResult:
    one = {"name": "operations", "type": "webhook", "url": receiver.url, **target}
    found = call_module("notices", kubeconfig=hub, targets=[one], check=check, timeout=5)
    assert not found.failed, found.msg
    assert "secret-path" not in json.dumps({**found.data, "_ansible_new_secrets": None})
    return found


def test_fleet_is_read_and_each_notice_is_sent_once(payments: Path, receiver: Receiver) -> None:
    with silent_member(payments):
        predicted = run(payments, receiver, check=True)
        assert receiver.messages == []
        receiver.status = 500
        assert run(payments, receiver).data["failed_targets"]["operations"].startswith("it answered 500")
        receiver.status = 200
        sent = run(payments, receiver)
        assert sent.data["notices"] == predicted.data["notices"]
        assert receiver.kinds() == ["member", "quota", "request", "ttl"]
        again = run(payments, receiver)
        assert (again.data["changed"], again.data["notices"]) == (False, [])
    assert len(receiver.messages) == 1
    texts = {one["kind"]: one["text"] for one in receiver.messages[0]}
    assert texts["quota"] == "has allocated 100 % of its quota of vclusters (1 of 1)"
    assert texts["request"].endswith("denied: cpu: 9 is more than <!channel> has left")


def test_runs_at_once_send_each_notice_once(platform: Path, cluster: Any, receiver: Receiver) -> None:
    """They compete for the record, which does not exist yet, and see different matters."""
    usual = {**TARGET, "name": "at-once", "type": "webhook", "url": receiver.url, "quiet_hours": [], "timezone": "UTC"}
    (target,) = NoticeOptions.of({"targets": [usual], "smtp": None, "thresholds": THRESHOLDS}).targets
    facts = Facts(Sample(datetime.now(UTC), (), (), ()), (), unknown=frozenset({"ttl"}))
    context: Any = SimpleNamespace(hub=cluster, check_mode=False)
    matters = [Notice("note", "", f"v{one}", "ends", "Do", (f"ttl v{one}",)) for one in range(MATTERS)]

    def one_run(number: int) -> list[str]:
        seen = matters[number : number + MATTERS - RUNS]
        outcome = reconcile._serve(context, None, facts, seen, target)
        assert outcome.problem == ""
        return [row["about"] for row in outcome.rows if row["state"] == "sent"]

    with ThreadPoolExecutor(RUNS) as pool:
        rows = [about for sent in pool.map(one_run, range(RUNS)) for about in sent]
    received = Counter(one["about"] for message in receiver.messages for one in message)
    assert received == Counter(rows)
    assert {*received.values()} == {1}
    assert len(received) == MATTERS - 1
