from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import Taint, Toleration
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement import rules
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.capacity import Host
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import MemberFacts, Pods

from .example import member, node, promise, request, resources

AGENTS = Pods("agent", 2, resources(2, "4Gi", 1))


def excluded(host: MemberFacts, **asked: Any) -> tuple[str, str] | None:
    found = rules.excluded(request(**asked), Host(host, []))
    return (found.rule, found.message) if found else None


@pytest.mark.parametrize(
    ("facts", "asked", "rule", "reason"),
    [
        ({"problem": "no answer"}, {"match_labels": {"a": "b"}}, "Reachable", "no answer"),
        ({}, {"match_labels": {"a": "b"}}, "LabelSelector", "a=b required, and it has no label a"),
        ({"labels": {"a": "c"}}, {"match_labels": {"a": "b"}}, "LabelSelector", "a=b required, and it has a=c"),
        ({"taints": (Taint("old", "x"),)}, {}, "TaintToleration", "the taint old=x is not tolerated"),
        (
            {"taints": (Taint("old", "x"),)},
            {"tolerations": (Toleration("old"),)},
            "TaintToleration",
            "the taint old=x is not tolerated",
        ),
        ({"shared_problem": "two networks"}, {}, "Mode", "two networks"),
        (
            {"minor": 33},
            {},
            "Version",
            "it runs Kubernetes 1.33, more than 3 minor versions from the virtual cluster's 1.37",
        ),
        ({}, {"storage_classes": frozenset({"b", "a"})}, "StorageClass", "it has no StorageClass a, b"),
        (
            {"has_default_storage_class": False},
            {"needs_default_storage_class": True},
            "StorageClass",
            "it has no default StorageClass, which persistence.storage_class would replace",
        ),
        ({}, {"ingress_classes": frozenset({"nginx"})}, "IngressClass", "it has no IngressClass nginx"),
    ],
)
def test_excluded_names_the_rule(facts: dict, asked: dict, rule: str, reason: str) -> None:
    assert excluded(member("a", **facts), **asked) == (rule, reason)
    assert excluded(member("a")) is None


@pytest.mark.parametrize(
    ("facts", "asked"),
    [
        ({"labels": {"a": "b", "c": "d"}}, {"match_labels": {"a": "b"}}),
        ({"taints": (Taint("old", "x"),)}, {"tolerations": (Toleration("old", "Exists"),)}),
        ({"taints": (Taint("old", "x"),)}, {"tolerations": (Toleration("old", "Equal", "x"),)}),
        ({"taints": (Taint("old", "x"),)}, {"tolerations": (Toleration("", "Exists"),)}),
        ({"minor": 34}, {}),
        ({"minor": 30, "shared_problem": "two networks"}, {"shared": False}),
        ({"minor": None}, {}),
    ],
)
def test_excluded_allows(facts: dict, asked: dict) -> None:
    assert excluded(member("a", **facts), **asked) is None


def test_excluded_without_nodes() -> None:
    found = excluded(MemberFacts("a"))
    assert found
    assert found[0] == "Nodes"


def test_excluded_capacity_names_each_resource() -> None:
    host = Host(member("a", node(others=resources(1, "1Gi", 5))), [promise("a", cpu=5, memory="4Gi")])
    found = rules.excluded(request(cpu=4, memory="12Gi"), host)
    assert found
    assert found.message == (
        "cpu 4 asked for, but 2 free, 2 too little (8 allocatable, 5 promised to virtual clusters, 1 requested by "
        "other pods); memory 12Gi asked for, but 11Gi free, 1Gi too little (16Gi allocatable, 4Gi promised to virtual "
        "clusters, 1Gi requested by other pods)"
    )


def test_excluded_capacity_of_extended_resources() -> None:
    gpu = "nvidia.com/gpu"
    asked = request()
    asked = request(node_tolerations=(Toleration(gpu, "Exists"),)).__class__(
        **{**vars(asked), "amounts": {**asked.amounts, gpu: 1000}, "node_tolerations": (Toleration(gpu, "Exists"),)}
    )
    with_gpu = node("gpu", taints=(Taint(gpu),))
    with_gpu = with_gpu.__class__(**{**vars(with_gpu), "allocatable": {**with_gpu.allocatable, gpu: 2000}})
    assert rules.excluded(asked, Host(member("a", node(), with_gpu), [])) is None
    found = rules.excluded(asked, Host(member("a"), []))
    assert found
    assert found.message.startswith("nvidia.com/gpu 1 asked for, but 0 free, 1 too little (0 allocatable")


def test_excluded_node_fit_names_the_largest_node() -> None:
    nodes = [node("one", 4, "8Gi"), node("two", 1, "16Gi", requested=resources(0, "1Gi"))]
    assert excluded(member("a", *nodes), pods=(AGENTS,)) is None
    found = excluded(member("a", *nodes), pods=(Pods("agent", 3, resources(2, "4Gi", 1)),))
    assert found == (
        "NodeFit",
        "its nodes have room for 2 of 3 pods (agent) with requests of cpu 2, memory 4Gi: the largest, two, has cpu 1, "
        "memory 15Gi free",
    )


def test_excluded_node_fit_required_anti_affinity() -> None:
    apart = Pods("agent", 2, resources(1, "1Gi", 1), apart=True)
    found = excluded(member("a"), pods=(apart,))
    assert found
    assert found[0] == "NodeFit"
    assert excluded(member("a", node("one"), node("two")), pods=(apart,)) is None


def test_excluded_node_fit_selector_and_taints() -> None:
    chosen = Pods("server", 1, resources(1, "1Gi", 1), {"disk": "ssd"}, (Toleration("fast", "Exists"),))
    fast = node("fast", labels={"disk": "ssd"}, taints=(Taint("fast"),))
    assert excluded(member("a", node(), fast), pods=(chosen,)) is None
    found = excluded(member("a"), pods=(chosen,))
    assert found
    assert found[1].endswith("none has the labels, or no taint, that they require")


def test_is_selected_needs_only_the_registry() -> None:
    assert rules.is_selected(request(match_labels={"a": "b"}), MemberFacts("x", labels={"a": "b"}))
    assert not rules.is_selected(request(match_labels={"a": "b"}), MemberFacts("x"))
    assert not rules.is_selected(request(), MemberFacts("x", taints=(Taint("old"),)))
    assert not rules.is_selected(request(), MemberFacts("x", "no answer"))
