"""The end of pods on the host."""

from __future__ import annotations

import pytest
from tenantry_syncer.pods import Pods
from tenantry_syncer.sides import Sides

from .object_store import with_store
from .objects import CONFIG, pod


@pytest.mark.parametrize(
    ("asked", "left", "given"),
    [(None, None, None), (5, None, 5), (7200, None, 3600), (5, 30, 5), (40, 30, "nothing"), (9000, 3600, "nothing")],
)
def test_a_pod_has_its_time_to_end_and_no_more_than_the_platform_gives(asked, left, given):
    async def scenario(store, api):
        ending = {} if left is None else {"deletionTimestamp": "now", "deletionGracePeriodSeconds": left}
        host = pod(namespace=CONFIG.namespace, **ending)
        store.objects[f"/api/v1/namespaces/{CONFIG.namespace}/pods/web-0"] = host
        await Pods(Sides(CONFIG, api, api), None, None, None, None)._remove(host, asked)
        assert [one.get("gracePeriodSeconds") for one in store.deletions] == ([] if given == "nothing" else [given])

    with_store(scenario)
