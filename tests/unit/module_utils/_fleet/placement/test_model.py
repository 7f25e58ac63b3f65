from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.decide import place
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import amounts, as_text

from .example import member, request


def test_amounts_of_compute_and_extended_resources() -> None:
    given = {"cpu": "500m", "memory": "1Ki", "pods": "3", "storage": "5Gi", "node_ports": "1", "nvidia.com/gpu": "1"}
    assert amounts(given, "x") == {"cpu": 500, "memory": 1024000, "pods": 3000, "nvidia.com/gpu": 1000}


def test_as_text_is_a_quantity() -> None:
    assert [as_text("cpu", 1500), as_text("cpu", 2000), as_text("memory", 1024**3 * 1000)] == ["1500m", "2", "1Gi"]


def test_as_row_explains_each_host() -> None:
    decision = place([request(cpu=4)], [member("b", problem="no answer"), member("a")], [])["payments--dev"]
    assert decision.as_row() == {
        "host": "a",
        "score": 143,
        "members": [
            {"name": "a", "score": 143, "scores": {"allocatable_cpu": 50, "allocatable_memory": 93}},
            {"name": "b", "excluded_by": "Reachable", "reason": "no answer"},
        ],
    }


def test_as_row_without_a_host() -> None:
    row = place([request(cpu=99)], [member("a")], [])["payments--dev"].as_row()
    assert (row["host"], row["score"], [one["excluded_by"] for one in row["members"]]) == (None, None, ["Capacity"])
