"""What vcluster_info reports of a virtual cluster that it cannot read."""

from __future__ import annotations

import json
from types import SimpleNamespace

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import FORMAT, SPEC_ANNOTATION
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import info
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse

from .example import make_item

DATABASE = {"endpoint": "postgres://kine:secret@db.example.com/dev"}


def newer(name: str) -> VirtualCluster:
    record = json.dumps({"format": FORMAT + 1, "datastore": "postgres://db.example.com:5432/dev"})
    metadata = {
        "name": f"payments--{name}",
        "creationTimestamp": "2026-11-20T09:00:00Z",
        "labels": naming.labels("vcluster", tenant="payments", vcluster=name),
        "annotations": {SPEC_ANNOTATION: record},
    }
    return VirtualCluster(SimpleNamespace(name="hub", get=lambda *_what: None), {"metadata": metadata})


def test_info_reports_record_of_newer_release() -> None:
    [row] = info.live_rows([newer("dev")])
    assert (row["name"], row["namespace"], row["status"], row["mode"]) == ("dev", "payments--dev", "NotReady", None)
    assert f"has format {FORMAT + 1}" in row["message"]
    assert "Use the newer release" in row["message"]


def test_record_of_newer_release_stops_no_other() -> None:
    places = FleetState.__new__(FleetState)
    places.found = {"payments--other": newer("other")}
    assert places.shared_datastores([parse(make_item(datastore=DATABASE))]) == {}
