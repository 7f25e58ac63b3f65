"""Token Secrets on the host belong to one pod, even while two pods have the same name."""

from __future__ import annotations

import base64

import pytest
from tenantry_syncer import naming
from tenantry_syncer.controllers.events import Events
from tenantry_syncer.controllers.service_account_tokens import Tokens
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import NODE, POD, SECRET, TOKEN
from tenantry_syncer.kube.work_queue import RequeueAfter
from tenantry_syncer.sync_context import SyncContext
from tenantry_syncer.translate.pod import host_pod
from tenantry_syncer.translate.pod_volumes import token_secret

from ..object_store import with_store
from ..objects import CONFIG, POD_CONTEXT, pod

VOLUMES = [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]


def known(context: SyncContext, store, uid: str, name: str) -> None:
    """Return a host pod with its tokens."""
    virtual = pod({"volumes": VOLUMES}, uid=uid)
    host_object = host_pod(virtual, POD_CONTEXT, name)
    secret = {"metadata": naming.metadata(CONFIG.labels, TOKEN, virtual, token_secret(host_object["metadata"]["name"]))}
    for kind, obj in ((POD, host_object), (SECRET, secret)):
        obj["metadata"] |= {"namespace": CONFIG.namespace, "uid": f"on-host-{uid}", "resourceVersion": "1"}
        store.objects[kind.path(CONFIG.namespace, obj["metadata"]["name"])] = obj
        context.host.cache(kind).put(obj)


def test_terminating_pod_keeps_its_own_tokens():
    async def scenario(store, api):
        context, later = SyncContext(CONFIG, api, api), naming.host_name("shop", "web-0", "later")
        known(context, store, "earlier", "")
        context.virtual.cache(POD).put(pod({"volumes": VOLUMES}, uid="later"))
        tokens = Tokens(context, Events(context))

        async def issued(path: str, body: dict, **_options: object) -> dict:
            assert body["spec"]["boundObjectRef"]["uid"] == "later"
            return {"status": {"token": "new", "expirationTimestamp": "2099-01-01T00:00:00Z"}}

        made = []

        async def created(_kind, obj: dict) -> dict:
            made.append(obj)
            return obj

        context.virtual.api.create, context.host.create = issued, created
        on_host = context.host_pod_name_for(context.virtual.get(POD, "shop", "web-0"))
        assert on_host == later
        await tokens.reconcile("shop", "web-0", on_host)
        assert [one["metadata"]["name"] for one in made] == [token_secret(later)]
        assert made[0]["data"] == {"t.0": base64.b64encode(b"new").decode()}
        assert store.writes == [
            f"DELETE {SECRET.path(CONFIG.namespace, token_secret(naming.host_name('shop', 'web-0')))}"
        ]
        (volume,) = host_pod(pod({"volumes": VOLUMES}, uid="later"), POD_CONTEXT, later)["spec"]["volumes"]
        assert volume["projected"]["sources"][0]["secret"]["name"] == token_secret(later)

    with_store(scenario)


def test_successor_keeps_tokens_after_predecessor():
    async def scenario(store, api):
        context, later = SyncContext(CONFIG, api, api), naming.host_name("shop", "web-0", "later")
        known(context, store, "later", later)
        virtual = pod({"volumes": VOLUMES}, uid="later")
        context.virtual.cache(POD).put(virtual)
        assert context.host_pod_name_for(virtual) == later
        secret = context.host.get(SECRET, "", token_secret(later))
        secret["metadata"]["annotations"][naming.RENEW] = "2099-01-01T00:00:00+00:00"
        context.host.cache(SECRET).put({**secret, "metadata": {**secret["metadata"], "resourceVersion": "2"}})
        assert await Tokens(context, Events(context)).reconcile("shop", "web-0") > 3600
        assert store.writes == []

    with_store(scenario)


def issuing(context: SyncContext, error: ApiError | None = None) -> list[dict]:
    """Let the virtual API server issue tokens or refuse them, and return their requests."""
    requests: list[dict] = []
    create = context.virtual.api.create

    async def issue(path: str, body: dict, **options: object) -> dict:
        if body["kind"] != "TokenRequest":
            return await create(path, body, **options)
        requests.append(body)
        if error:
            raise error
        return {"status": {"token": f"token {len(requests)}", "expirationTimestamp": "2099-01-01T00:00:00Z"}}

    context.virtual.api.create = issue
    return requests


def stored(store) -> dict:
    return store.objects[SECRET.path(CONFIG.namespace, token_secret(naming.host_name("shop", "web-0")))]


def text_of(store) -> str:
    return base64.b64decode(stored(store)["data"]["t.0"]).decode()


def test_tokens_are_issued_again_once_the_pod_has_a_node():
    async def scenario(store, api):
        context = SyncContext(CONFIG, api, api)
        requests, tokens = issuing(context), Tokens(context, Events(context))
        context.virtual.cache(POD).put(pod({"volumes": VOLUMES}))
        context.virtual.cache(NODE).put({"metadata": {"name": "node-1", "uid": "n-1", "resourceVersion": "1"}})
        for _time in range(2):
            await tokens.reconcile("shop", "web-0")
        assert (len(requests), text_of(store)) == (1, "token 1")
        context.virtual.cache(POD).put(pod({"volumes": VOLUMES, "nodeName": "node-1"}, resourceVersion="8"))
        await tokens.reconcile("shop", "web-0")
        assert (len(requests), text_of(store)) == (2, "token 2")
        stored(store)["metadata"]["resourceVersion"] = "2"
        context.host.cache(SECRET).put(stored(store))
        assert await tokens.reconcile("shop", "web-0") > 3600
        assert len(requests) == 2

    with_store(scenario)


@pytest.mark.parametrize(
    ("error", "seconds", "events"),
    [
        (ApiError(404, "NotFound", 'serviceaccounts "builder" not found'), 10, 1),
        (ApiError(403, "Forbidden", "a webhook of the tenant refuses it"), 10, 1),
        (ApiError(409, "Conflict", "the UID in the bound object reference does not match"), 1, 0),
        (ApiError(404, "NotFound", 'pods "web-0" not found'), None, 0),
        (ApiError(500, "InternalError", "later"), None, 0),
    ],
)
def test_refused_token_is_reported(error: ApiError, seconds: float | None, events: int):
    async def scenario(store, api):
        context = SyncContext(CONFIG, api, api)
        issuing(context, error)
        context.virtual.cache(POD).put(pod({"volumes": VOLUMES}))
        with pytest.raises(RequeueAfter if seconds else ApiError) as raised:
            await Tokens(context, Events(context)).reconcile("shop", "web-0")
        assert getattr(raised.value, "seconds", None) == seconds
        told = [one["message"] for path, one in store.objects.items() if "/events/" in path]
        assert told == [error.message] * events

    with_store(scenario)
