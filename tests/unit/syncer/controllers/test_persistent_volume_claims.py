"""Claims whose volume is gone, and claims of ephemeral volumes."""

from __future__ import annotations

import pytest
from tenantry_syncer.controllers.events import Events
from tenantry_syncer.controllers.persistent_volume_claims import PersistentVolumeClaims, ephemeral_claim_problem
from tenantry_syncer.kube.resources import PVC
from tenantry_syncer.sync_context import SyncContext

from ..object_store import with_store
from ..objects import CONFIG, pod

OWN, EARLIER = {"kind": "Pod", "name": "web-0", "uid": "1-2-3"}, {"kind": "Pod", "name": "web-0", "uid": "earlier"}


def claim(*owners: dict, uid: str = "c-1", **fields: object) -> dict:
    metadata = {"name": "web-0-data", "namespace": "shop", "uid": uid, "resourceVersion": "7"}
    metadata |= {"ownerReferences": list(owners), **fields}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {"resources": {}}}


@pytest.mark.parametrize(
    ("inside", "on_host", "expected"),
    [
        (None, None, None),
        (None, "c-0", ""),
        (claim(OWN), None, None),
        (claim(OWN), "c-1", None),
        (claim(OWN), "c-0", ""),
        (claim(EARLIER), "c-1", ""),
        (claim(deletionTimestamp="2026-01-01T00:00:00Z"), None, ""),
        (claim({"kind": "App", "name": "x", "uid": "o"}), None, "the claim web-0-data exists and was not created"),
        (claim(), "c-1", "the claim web-0-data exists and was not created"),
    ],
)
def test_ephemeral_claim_must_be_of_the_pod_on_both_sides(
    inside: dict | None, on_host: str | None, expected: str | None
):
    context = SyncContext(CONFIG, None, None)
    if inside:
        context.virtual.cache(PVC).put(inside)
    if on_host:
        host_object = context.host_object(PVC, claim(uid=on_host), spec={})
        host_object["metadata"] |= {"namespace": CONFIG.namespace, "uid": "on-host", "resourceVersion": "1"}
        context.host.cache(PVC).put(host_object)
    problem = ephemeral_claim_problem(context, pod(), "web-0-data")
    assert problem == expected if not expected else (problem or "").startswith(expected)


@pytest.mark.parametrize(("phase", "reasons"), [("Pending", []), ("Bound", ["NewVolume"])])
def test_new_volume_of_a_bound_claim_is_reported(phase: str, reasons: list[str]):
    async def scenario(store, api):
        context = SyncContext(CONFIG, api, api)
        context.virtual.cache(PVC).put({**claim(), "status": {"phase": phase}})
        await PersistentVolumeClaims(context, Events(context)).reconcile("shop", "web-0-data")
        assert [one["reason"] for path, one in store.objects.items() if "/events/" in path] == reasons

    with_store(scenario)
