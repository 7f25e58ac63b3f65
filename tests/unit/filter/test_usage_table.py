from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.filter.usage_table import COLUMNS, COUNTED, FilterModule

usage_table = FilterModule().filters()["usage_table"]


def tenant(name: str, **cpu: str) -> dict:
    return {"name": name, **{part: {key: cpu[part] if key == "cpu" else "0" for key in COUNTED} for part in cpu}}


def test_a_line_for_each_tenant_and_resource_under_its_header() -> None:
    one = tenant("payments", quota="8", allocated="5500m", available="2500m", used="1600m")
    header, cpu, *rest = usage_table([one]).splitlines()
    assert len(rest) == len(COUNTED) - 1
    assert cpu.split() == ["payments", "cpu", "8", "5500m", "2500m", "1600m"]
    assert [cpu.index(value) for value in ("8", "5500m", "2500m", "1600m")] == [
        header.index(column) for column in COLUMNS[2:]
    ]


def test_none_at_all_is_said() -> None:
    assert usage_table([]) == "no tenants"
