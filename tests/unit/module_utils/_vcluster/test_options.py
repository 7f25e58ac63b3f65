"""Options of a whole call, which no flow reads from the module's parameters."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.tenantry.kube.plugins import module_utils
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import OPTIONS, VClusterOptions


def test_of_takes_what_the_argument_spec_offers() -> None:
    params = {name: option["default"] for name, option in OPTIONS.items()}
    assert VClusterOptions.of(params) == VClusterOptions(wait=True, wait_timeout=300)


def test_flows_get_options_that_have_types() -> None:
    sources = Path(next(iter(module_utils.__path__))).rglob("*.py")
    reading = sorted(path.name for path in sources if "module.params" in path.read_text())
    assert reading == ["_module.py"]
