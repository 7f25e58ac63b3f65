from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.filter.vcluster_table import FilterModule

vcluster_table = FilterModule().filters()["vcluster_table"]
DEV = {
    "tenant": "payments",
    "name": "dev",
    "host": "hub",
    "version": "v1.34.4+k3s1",
    "nodes": 1,
    "status": "Ready",
    "endpoint": "https://10.0.0.1:31234",
    "resources": {"memory": {"used": "1Gi", "hard": "2Gi"}, "cpu": {"used": "500m", "hard": "1"}},
}


def test_columns_line_up_under_their_headers() -> None:
    header, first, second = vcluster_table([DEV, DEV | {"tenant": "a-longer-name"}]).splitlines()
    for column, value in {"HOST": "hub", "VERSION": "v1.34.4+k3s1", "STATUS": "Ready", "ENDPOINT": "https://"}.items():
        assert first.index(value) == second.index(value) == header.index(column)
    assert first.startswith("payments/dev ")


def test_resources_are_used_of_hard_in_a_fixed_order() -> None:
    assert vcluster_table([DEV]).endswith("cpu 500m/1, memory 1Gi/2Gi")


def test_extended_resources_come_after_those_that_always_count() -> None:
    more = {"nvidia.com/gpu": {"used": "1", "hard": "2"}, **DEV["resources"], "node_ports": {"used": "0", "hard": "1"}}
    assert vcluster_table([DEV | {"resources": more}]).endswith("cpu 500m/1, memory 1Gi/2Gi, nvidia.com/gpu 1/2")


def test_an_unreachable_one_has_dashes_and_no_trailing_blanks() -> None:
    broken = DEV | {"version": None, "endpoint": "", "resources": None, "nodes": 0, "status": "Unreachable"}
    _header, line = vcluster_table([broken]).splitlines()
    assert line.split() == ["payments/dev", "hub", "-", "0", "Unreachable", "-", "-"]
    assert line == line.rstrip()


def test_none_at_all_is_said() -> None:
    assert vcluster_table([]) == "no virtual clusters"
