"""What an API server says of a refusal."""

from __future__ import annotations

import pytest
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import SERVICE
from tenantry_syncer.kube.work_queue import RequeueAfter
from tenantry_syncer.sync_context import SyncContext

from ..object_store import with_store
from ..objects import CONFIG, service

ADDRESS = {"field": "spec.clusterIPs", "message": "Invalid value: failed to allocate IP: is already allocated"}
PORT = {"field": "spec.ports[0].nodePort", "message": "Invalid value: 30080: provided port is already allocated"}
RANGE = {"field": "spec.ports[0].nodePort", "message": "Invalid value: 1: provided port is not in the valid range"}
UID = {"field": "metadata.uid", "message": "Invalid value: field is immutable"}


@pytest.mark.parametrize(
    ("causes", "about", "taken"),
    [
        ([ADDRESS], "spec.clusterIP", True),
        ([PORT], "spec.ports", True),
        ([RANGE], "spec.ports", False),
        ([RANGE, UID], "metadata.uid", False),
        ([{}], None, False),
        (["text"], None, False),
        ([], None, False),
    ],
)
def test_a_refusal_names_its_fields(causes: list, about: str | None, taken: bool) -> None:
    async def scenario(store, api):
        store.causes, store.rejected = causes, {"/api": 422}
        with pytest.raises(ApiError) as refused:
            await api.text("/api")
        fields = ("spec.clusterIP", "spec.ports", "metadata.uid")
        assert [field for field in fields if refused.value.is_about(field)][-1:] == ([about] if about else [])
        assert refused.value.is_taken is taken

    with_store(scenario)


@pytest.mark.parametrize(("cause", "expected"), [(UID, RequeueAfter), (RANGE, ApiError)])
@pytest.mark.parametrize("write", ["merge", "merge_unchanged", "strategic"])
def test_a_write_to_what_is_another_object_now_is_retried_later(cause: dict, expected: type, write: str) -> None:
    async def scenario(store, api):
        view, one = SyncContext(CONFIG, api, api).virtual, service({})
        store.causes, store.rejected = [cause], {view.path(SERVICE, one): 422}
        with pytest.raises(expected):
            await getattr(view, write)(SERVICE, one, {"spec": {}})

    with_store(scenario)
