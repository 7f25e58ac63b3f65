"""The lifecycle of pods on the host: changes and deletion."""

from __future__ import annotations

import asyncio

import pytest
from tenantry_syncer import naming
from tenantry_syncer.controllers.config_maps_and_secrets import ReferenceIndex, References
from tenantry_syncer.controllers.events import Events
from tenantry_syncer.controllers.manager import Syncer
from tenantry_syncer.controllers.pods import Pods
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import POD
from tenantry_syncer.kube.work_queue import RequeueAfter
from tenantry_syncer.sync_context import SyncContext
from tenantry_syncer.translate.pod import host_pod

from ..object_store import with_store
from ..objects import CONFIG, POD_CONTEXT, container, pod


@pytest.mark.parametrize(
    ("asked", "left", "given"),
    [(None, None, None), (5, None, 5), (7200, None, 3600), (5, 30, 5), (40, 30, "nothing"), (9000, 3600, "nothing")],
)
def test_remove_limits_the_grace_period(asked, left, given):
    async def scenario(store, api):
        ending = {} if left is None else {"deletionTimestamp": "now", "deletionGracePeriodSeconds": left}
        host = pod(namespace=CONFIG.namespace, **ending)
        store.objects[f"/api/v1/namespaces/{CONFIG.namespace}/pods/web-0"] = host
        await Pods(SyncContext(CONFIG, api, api), None, None, None, None)._remove(host, asked)
        assert [one.get("gracePeriodSeconds") for one in store.deletions] == ([] if given == "nothing" else [given])

    with_store(scenario)


HOST_POD = f"/api/v1/namespaces/{CONFIG.namespace}/pods/web-0"


def test_too_large_successor_waits_for_predecessor():
    async def scenario(store, api):
        context = SyncContext(CONFIG, api, api)
        earlier = host_pod(pod(uid="earlier"), POD_CONTEXT)
        earlier["metadata"] |= {"namespace": CONFIG.namespace, "uid": "on-host", "resourceVersion": "1"}
        store.objects[POD.path(CONFIG.namespace, earlier["metadata"]["name"])] = earlier
        context.host.cache(POD).put(earlier)
        later = pod({"containers": [container(env=[{"name": f"A{at}"} for at in range(20_000)])]}, uid="later")
        store.objects[POD.path("shop", "web-0")] = later
        context.virtual.cache(POD).put(later)
        syncer = Syncer(context)
        await syncer._work((POD, "shop", "web-0"))
        assert store.writes == [f"DELETE {POD.path(CONFIG.namespace, earlier['metadata']['name'])}"]

    with_store(scenario)


@pytest.mark.parametrize("gone", [False, True], ids=["with a successor", "alone"])
def test_force_deleted_pod_gets_one_second(gone):
    async def scenario(store, api):
        context = SyncContext(CONFIG, api, api)
        earlier = host_pod(pod(uid="earlier"), POD_CONTEXT)
        earlier["metadata"] |= {"namespace": CONFIG.namespace, "uid": "on-host", "resourceVersion": "1"}
        path = f"/api/v1/namespaces/{CONFIG.namespace}/pods"
        store.objects[f"{path}/{earlier['metadata']['name']}"] = earlier
        context.host.cache(POD).put(earlier)
        if not gone:
            context.virtual.cache(POD).put(pod(uid="later"))
        tokens = References(context, ReferenceIndex(), Events(context))
        tokens.reconcile = lambda *_key: asyncio.sleep(0)
        await Pods(context, Events(context), None, tokens, tokens).reconcile("shop", "web-0")
        assert [(one["gracePeriodSeconds"], one["preconditions"]) for one in store.deletions] == [
            (1, {"uid": "on-host"})
        ]
        made = [] if gone else [f"POST {path}/{naming.host_name('shop', 'web-0', 'later')}"]
        assert [one for one in store.writes if one.startswith("POST")] == made
        if not gone:
            (host_object,) = [
                one for one in context.host_pods_for("shop", "web-0") if naming.virtual_uid(one) == "later"
            ]
            assert host_object["spec"]["hostname"] == "web-0"

    with_store(scenario)


@pytest.mark.parametrize(
    ("status", "raised"), [(403, RequeueAfter), (422, RequeueAfter), (500, ApiError), (409, ApiError)]
)
def test_rejected_change_does_not_block_others(status, raised):
    async def scenario(store, api):
        context = SyncContext(CONFIG, api, api)
        before = pod({"readinessGates": [{"conditionType": "example.com/ready"}]})
        after = pod(
            {**before["spec"], "containers": [container(image="web:2", resources={"limits": {"cpu": "9"}})]},
            labels={"new": "1"},
        )
        after["status"] = {"conditions": [{"type": "example.com/ready", "status": "True"}]}
        host = {**host_pod(before, POD_CONTEXT), "status": {}}
        host["metadata"] |= {"namespace": CONFIG.namespace, "uid": "on-host", "resourceVersion": "1"}
        path = f"/api/v1/namespaces/{CONFIG.namespace}/pods/{host['metadata']['name']}"
        for part in ("", "/resize", "/status"):
            store.objects[path + part] = host
        store.rejected[f"{path}/resize"] = status
        with pytest.raises(raised):
            await Pods(context, Events(context), None, None, None)._sync_changes(after, host)
        patched = [one.removeprefix(f"PATCH {path}") for one in store.writes if one.startswith("PATCH")]
        assert patched == ["", "", "/status"]
        written = [one for one in store.writes if "/events/" in one]
        assert bool(written) is (raised is RequeueAfter)

    with_store(scenario)


@pytest.mark.parametrize("how", ["merge", "strategic"])
def test_patch_has_uid_of_object(how):
    """A later object of the same name must not be changed."""

    async def scenario(store, api):
        host = pod(namespace=CONFIG.namespace)
        store.objects[HOST_POD] = host
        await getattr(SyncContext(CONFIG, api, api).host, how)(
            POD, {**host, "metadata": {**host["metadata"], "uid": "seen"}}, {}
        )
        assert store.objects[HOST_POD]["metadata"]["uid"] == "seen"

    with_store(scenario)
