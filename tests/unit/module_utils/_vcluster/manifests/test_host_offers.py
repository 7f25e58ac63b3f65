"""What a virtual cluster may use of its host, as the host's admission policies read it."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._platform import host_offers
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster

from ..example import SHARED, render


def of_namespace(**changes: object) -> dict[str, str]:
    (namespace,) = (obj for obj in cluster.foundation(render(**changes)) if obj["kind"] == "Namespace")
    keys = (host_offers.EXTENDED, host_offers.INGRESS_CLASSES, host_offers.INGRESS_HOSTS, host_offers.STORAGE_CLASSES)
    return {key: value for key, value in namespace["metadata"]["annotations"].items() if key in keys}


def test_what_is_offered_stands_on_the_namespace() -> None:
    given = {"ingress_classes": ["web"], "ingress_hosts": ["*.a.example.com", "b.example.com"]}
    assert of_namespace(**SHARED, **given, storage_classes=["fast", "slow"]) == {
        host_offers.INGRESS_CLASSES: "web",
        host_offers.INGRESS_HOSTS: "*.a.example.com,b.example.com",
        host_offers.STORAGE_CLASSES: "fast,slow",
    }


def test_any_storage_class_and_none_are_distinguished() -> None:
    assert of_namespace(**SHARED) == {}
    assert of_namespace(**SHARED, storage_classes=[]) == {host_offers.STORAGE_CLASSES: ""}


def test_extended_resources() -> None:
    extended = {"example.com/gpu": "1", "example.com/fpga": "2"}
    offered = of_namespace(**{**SHARED, "resources": {**SHARED["resources"], "extended": extended}})
    assert offered == {host_offers.EXTENDED: "example.com/fpga,example.com/gpu"}


def test_agents_have_what_is_inside() -> None:
    assert of_namespace() == {}
