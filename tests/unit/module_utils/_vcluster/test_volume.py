"""What becomes of the volume of a server when another size is asked for."""

from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.volume import check_volume

from .example import make_item


class Host:
    """A host whose storage classes are known."""

    name = "edge"

    def get(self, _kind: str, name: str) -> dict:
        return {"metadata": {"name": name}, "allowVolumeExpansion": name == "grows"}


@pytest.mark.parametrize(
    ("size", "storage_class", "phase", "told"),
    [
        ("4Gi", "grows", "Bound", "shrink"),
        ("5Gi", "fixed", "Bound", None),
        ("5120Mi", "fixed", "Bound", None),
        ("6Gi", "grows", "Bound", None),
        ("6Gi", "grows", "Pending", "before the volume exists"),
        ("5Gi", "grows", "Pending", None),
        ("6Gi", "fixed", "Bound", "storage class fixed of host edge"),
        ("6Gi", None, "Bound", "does not allow it"),
    ],
)
def test_a_volume_grows_where_its_storage_class_lets_it(size, storage_class, phase, told):
    claim = {
        "spec": {"resources": {"requests": {"storage": "5Gi"}}, "storageClassName": storage_class},
        "status": {"phase": phase},
    }
    spec = parse(make_item(persistence={"size": size}))
    if told is None:
        check_volume(Host(), spec, claim)
        return
    with pytest.raises(TenantryError, match=told):
        check_volume(Host(), spec, claim)


def test_a_new_volume_has_the_size_asked_for():
    check_volume(Host(), parse(make_item()), None)
