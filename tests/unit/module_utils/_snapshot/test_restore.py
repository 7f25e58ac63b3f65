"""What a restore does about the CA that comes with the data."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import decoded
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.restore import Restore
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import common
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.trusted_keys import ANNOTATION

from .._vcluster.fake_host import FakeHost

NAMESPACE = "payments--dev"
LABELS = {"tenantry.dev/tenant": "payments", "tenantry.dev/vcluster": "dev"}


@pytest.fixture
def restore() -> Restore:
    """In its own place, with one agent."""
    meta = {"namespace": NAMESPACE, "labels": LABELS}
    agent = {**meta, "name": "agent-0", "labels": {**LABELS, "app.kubernetes.io/component": "agent"}}
    trusted: dict[str, Any] = {**meta, "name": "client-ca", "annotations": {ANNOTATION: json.dumps({})}}
    host = FakeHost(
        "hub",
        common.secret({**meta, "name": "platform-credential"}, {"ca.crt": "new\n", "token": "t"}),
        common.secret(trusted, {"ca.crt": "c"}),
        {"apiVersion": "v1", "kind": "Pod", "metadata": agent},
    )
    namespace = {"metadata": {"name": NAMESPACE, "labels": LABELS}}
    target = VirtualCluster(host, namespace)  # type: ignore[arg-type]  # a fake
    origin = SimpleNamespace(tenant="payments", name="dev", version="v1.37.2+k3s1")
    made = Restore(target, origin, Deadline(5), lambda _text: None, Path())  # type: ignore[arg-type]  # a part of it
    made.stateful_set = {"spec": {"selector": {"matchLabels": LABELS}}}
    return made


def _found(restore: Restore) -> tuple[str, bool, bool]:
    """The CA that the platform trusts, whether CAs are noted, and whether the agent is there."""
    host = restore.host
    client_ca = host.get("v1/Secret", "client-ca", NAMESPACE)["metadata"]
    credential = decoded(host.get("v1/Secret", "platform-credential", NAMESPACE))
    return credential["ca.crt"], ANNOTATION in client_ca["annotations"], bool(host.list("v1/Pod", NAMESPACE))


def test_data_with_the_same_ca_leaves_agents(restore: Restore) -> None:
    restore._pin_ca("new")
    restore._renew_agents()
    assert _found(restore) == ("new\n", True, True)


def test_data_from_before_a_rotation_replaces_ca_and_agents(restore: Restore) -> None:
    restore._pin_ca("old\n")
    restore._renew_agents()
    assert _found(restore) == ("old\n", False, False)
