"""Leases of nodes with pods, renewed when due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tenantry_syncer.controllers import nodes
from tenantry_syncer.controllers.nodes import Nodes
from tenantry_syncer.kube.resources import NODE, POD
from tenantry_syncer.sync_context import SyncContext

from ..object_store import with_store
from ..objects import CONFIG

LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/one"


def with_node(scenario, uid: str = "n-1") -> None:
    """Run scenario(store, nodes, context) with a node that has a pod."""

    async def main(store, api):
        context = SyncContext(CONFIG, api, api)
        pod = {"name": "web", "namespace": CONFIG.namespace, "resourceVersion": "1"}
        context.host.cache(POD).put({"metadata": pod, "spec": {"nodeName": "one"}})
        context.virtual.cache(NODE).put({"metadata": {"name": "one", "uid": uid, "resourceVersion": "1"}, "spec": {}})
        store.objects["/api/v1/nodes/one/status"] = store.objects["/api/v1/nodes/one"] = {}
        await scenario(store, Nodes(context), context)

    with_store(main)


def test_lease_is_owned_by_its_node():
    async def scenario(store, it, _context):
        again = await it.reconcile("one")
        lease = store.objects[LEASE]
        assert lease["metadata"]["ownerReferences"] == [
            {"apiVersion": "v1", "kind": "Node", "name": "one", "uid": "n-1"}
        ]
        assert lease["spec"]["holderIdentity"] == "one"
        renewed = datetime.fromisoformat(lease["spec"]["renewTime"])
        assert abs(datetime.now(UTC) - renewed) < timedelta(seconds=10)
        assert 0 < again < lease["spec"]["leaseDurationSeconds"] / 2

    with_node(scenario)


def test_lease_is_renewed_when_due():
    async def scenario(store, it, _context):
        await it.reconcile("one")
        del store.writes[:]
        assert 0 < await it.reconcile("one") <= nodes.RENEW_SECONDS
        assert LEASE not in str(store.writes), "however often the node is reconciled"
        it._renewed["one"] -= nodes.RENEW_SECONDS
        await it.reconcile("one")
        assert f"PATCH {LEASE}" in store.writes

    with_node(scenario)


def test_lease_needs_a_node_with_pods():
    async def scenario(store, it, context):
        context.host.cache(POD)._store((CONFIG.namespace, "web"), None)
        assert await it.reconcile("one") is None
        assert LEASE not in store.objects

    with_node(scenario)
