"""What an API server says of a refusal."""

from __future__ import annotations

import pytest
from tenantry_syncer.controllers.events import Events
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import SERVICE
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


@pytest.mark.parametrize(("cause", "told"), [(UID, False), (RANGE, True)])
def test_a_refusal_of_another_object_is_not_reported(cause: dict, told: bool) -> None:
    async def scenario(_store, api):
        one = {**service({}), "apiVersion": "v1", "kind": "Service"}
        error = ApiError(422, "Invalid", "metadata.uid", [cause])
        assert await Events(SyncContext(CONFIG, api, api)).report_rejection(SERVICE, one, one, error) is told

    with_store(scenario)
