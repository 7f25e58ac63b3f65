"""What the module vcluster refuses: one line that names the option, and nothing written. Against a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import ModuleResult, call_module, writes
from .people import lose_promises, silent_member

GOOD: dict[str, Any] = {"tenant": "payments", "name": "dev", "mode": "dedicated", "version": "v1.37.2+k3s1"}
UNSAID = {option: value for option, value in GOOD.items() if option != "mode"}


@pytest.fixture(scope="module")
def hub(platform: Path) -> Iterator[Path]:
    """A hub with the tenant payments, whose quota is small. It has no nodes: nothing may get as far as needing one."""
    tenant = {"kubeconfig": platform, "tenant": "payments"}
    made = call_module("tenant_quota", **tenant, quota={"cpu": "2", "memory": "4Gi", "vclusters": 2})
    assert not made.failed, made.msg
    yield platform
    call_module("tenant_quota", **tenant, state="absent")


def check(hub: Path, **changes: Any) -> ModuleResult:
    return call_module("vcluster", check=True, kubeconfig=hub, **{**GOOD, **changes})


def test_the_positive_control(hub: Path) -> None:
    good = check(hub)
    assert not good.failed, good.msg
    assert good.changed


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": ""}, 'name: ""'),
        ({"name": "Dev"}, "lower-case"),
        ({"name": "de_v"}, "de-v"),
        ({"name": "-dev"}, "name"),
        ({"name": "dev-"}, "name"),
        ({"name": "d--v"}, "`--`"),
        ({"name": "de.v"}, "name"),
        ({"name": "../dev"}, "name"),
        ({"name": "d" * 60}, "63"),
        ({"name": "kube-system"}, "reserved"),
        ({"name": "dév"}, "name"),
        ({"name": "de\nv"}, "name"),
        ({"name": False}, "YAML"),
        ({"name": "1e3"}, "letter"),
        ({"name": "{{ 7 * 7 }}"}, "{{ 7 * 7 }}"),
        ({"tenant": "paymnts"}, "did you mean payments?"),
        ({"host": "hubb"}, "did you mean hub?"),
        ({"version": None}, "version"),
        ({"version": "latest"}, "latest"),
        ({"version": "1.31"}, "1.31"),
        ({"version": "v1.25.3+k3s1"}, "too old"),
        ({"servers": 0}, "servers"),
        ({"servers": 2}, "servers: must be the number 1 or 3, not 2"),
        ({"servers": "2"}, "servers: must be the number 1 or 3, not 2"),
        ({"servers": True}, "servers: must be the number 1 or 3, not true"),
        ({"servers": 3, "persistence": {"type": "none"}}, "persistence.type: none is not possible with three servers"),
        ({"agents": -1}, "agents"),
        ({"server": {"cpu": "-1"}}, "server.cpu"),
        ({"server": {"cpu": "ten"}}, "server.cpu"),
        ({"server": {"memory": "1gb"}}, "server.memory"),
        ({"server": {"memory": "10Mi"}}, "server.memory"),
        ({"persistence": {"size": "0"}}, "persistence.size"),
        ({"datastore": {"endpoint": "sqlite:///tmp/x"}}, "datastore.endpoint: must begin with postgres://"),
        ({"datastore": {"endpoint": "postgres://u:{{ p }}@db/dev"}}, "datastore.endpoint: contains a template"),
        ({"datastore": {"endpoint": "postgres://u:p@localhost/dev"}}, "datastore.endpoint: its host is"),
        ({"resources": {"cpu": "500m"}}, "resources.cpu"),
        ({"resources": {"pods": 0}}, "resources.pods"),
        ({"resources": {"cpu": "3"}}, "cpu 3 asked for, but 2 left"),
        ({"resources": {"memory": "5Gi"}}, "memory 5Gi asked for, but 4Gi left"),
        ({"cluster_cidr": "10.52.0.0/33"}, "cluster_cidr"),
        ({"cluster_cidr": "10.53.0.0/16"}, "overlaps"),
        ({"service_cidr": "10.43.0.0/16"}, "overlaps the service network of host hub"),
        ({"cluster_cidr": "8.8.0.0/16"}, "public"),
        ({"expose": {"type": "NodePort", "port": 80}}, "expose.port"),
        ({"expose": {"type": "NodePort", "address": "localhost"}}, "expose.address"),
        ({"expose": {"type": "ClusterIP", "port": 30001}}, "expose.port"),
        ({"expose": {"type": "NodePort"}}, "expose.address"),
        ({"image": "rancher/k3s:latest"}, "image"),
        ({"registries": {"mirror": {}}}, "did you mean mirrors?"),
        ({"mode": "shared"}, "resources.cpu, resources.memory, resources.pods: required with mode shared"),
        ({"mode": "none"}, "mode"),
        ({"tier": "gold"}, "tier"),
        ({"kubeconfig": "/nonexistent"}, "kubeconfig"),
        ({"kubeconfig_path": "/"}, "kubeconfig_path"),
    ],
    ids=lambda value: str(value)[:50] if isinstance(value, dict) else "",
)
def test_bad_input_is_one_line_and_nothing_is_written(hub: Path, changes: dict[str, Any], named: str) -> None:
    before = len(writes(hub))
    refused = call_module("vcluster", **{"kubeconfig": hub, **GOOD, **changes})
    assert refused.failed
    assert named in refused.msg
    assert "\n" not in refused.msg
    assert "Traceback" not in refused.text
    assert writes(hub)[before:] == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "resources.cpu, resources.memory, resources.pods: required with mode shared"),
        ({"resources": {"cpu": 2, "memory": "2Gi"}}, "resources.pods: required with mode shared"),
        ({"resources": {"cpu": 2, "memory": "2Gi", "pods": 9}, "agents": 1}, "agents: must be 0 with mode shared"),
    ],
    ids=["no resources", "part of one", "agents"],
)
def test_a_new_one_without_mode_is_shared_or_refused_with_the_way_out(
    hub: Path, options: dict[str, Any], named: str
) -> None:
    before = len(writes(hub))
    refused = call_module("vcluster", kubeconfig=hub, **{**UNSAID, **options})
    assert refused.failed
    assert named in refused.msg
    assert "mode: dedicated" in refused.msg
    assert "\n" not in refused.msg
    beside_a_good_one = call_module("vcluster", kubeconfig=hub, vclusters=[{**GOOD, "name": "stage"}, UNSAID])
    assert "payments--dev: resources.cpu" in beside_a_good_one.msg
    assert writes(hub)[before:] == []


def test_one_that_exists_stays_what_it_is(hub: Path) -> None:
    """Without mode it is kept and nothing changes; another mode is refused and nothing is written."""
    small = {"resources": {"cpu": 2, "memory": "2Gi", "storage": "5Gi", "pods": 9}}
    for mode, options, other, others in (("dedicated", {}, "shared", small), ("shared", small, "dedicated", {})):
        try:
            first = UNSAID if mode == "shared" else GOOD
            made = call_module("vcluster", kubeconfig=hub, wait=False, **{**first, **options})
            assert not made.failed, made.msg
            before = len(writes(hub))
            for check_mode in (True, False):
                again = call_module("vcluster", check=check_mode, kubeconfig=hub, wait=False, **{**UNSAID, **options})
                assert not again.failed, again.msg
                assert (again.changed, again.data["actions"]) == (False, [])
            refused = call_module("vcluster", kubeconfig=hub, wait=False, **{**UNSAID, **others, "mode": other})
            assert f"mode: cannot be changed from {mode} to {other}" in refused.msg
            assert writes(hub)[before:] == []
            listed = call_module("vcluster_info", kubeconfig=hub, tenant="payments")
            assert [row["mode"] for row in listed.data["vclusters"]] == [mode]
        finally:
            removed = call_module("vcluster", kubeconfig=hub, tenant="payments", name="dev", state="absent")
            assert not removed.failed, removed.msg


def test_one_bad_item_of_many_stops_all(hub: Path) -> None:
    before = len(writes(hub))
    items = [GOOD, {**GOOD, "name": "Stage"}, {**GOOD, "name": "test", "version": "latest"}]
    refused = call_module("vcluster", kubeconfig=hub, vclusters=items)
    assert refused.failed
    assert [line.split(":")[0] for line in refused.msg.splitlines()] == [
        "virtual cluster payments/Stage",
        "virtual cluster payments/test",
    ]
    assert writes(hub)[before:] == []


def test_the_quota_counts_all_items_of_a_call_together(hub: Path) -> None:
    one = {**GOOD, "server": {"cpu": "750m"}}
    two = [one, {**one, "name": "stage"}]
    assert not call_module("vcluster", check=True, kubeconfig=hub, vclusters=two).failed
    refused = call_module("vcluster", check=True, kubeconfig=hub, vclusters=[*two, {**one, "name": "test"}])
    assert "vclusters 3 asked for, but 2 left" in refused.msg
    assert "cpu 2250m asked for, but 2 left" in refused.msg


@pytest.fixture
def member_down(hub: Path) -> Iterator[None]:
    """The entry of a member at an address where nothing listens."""
    with silent_member(hub):
        yield


def test_a_deletion_is_not_done_while_it_may_be_on_a_member_that_is_down(hub: Path, member_down: None) -> None:
    """Without a host it would be looked for on the hub only, found gone, and called deleted."""
    lose_promises(hub, "payments")
    gone = {"tenant": "payments", "name": "dev", "state": "absent"}
    unknown = call_module("vcluster", kubeconfig=hub, **gone)
    assert unknown.failed
    assert "edge" in unknown.msg
    assert "Set host" in unknown.msg
    known = call_module("vcluster", kubeconfig=hub, host="hub", **gone)
    assert not known.failed, known.msg
    assert not known.changed
