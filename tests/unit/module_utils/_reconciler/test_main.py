"""The command line of the reconciler."""

from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._platform import reconciler
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler import __main__ as program


def test_the_deployment_gives_arguments_that_it_takes() -> None:
    schedule = {"self_service": 300, "housekeeping": 600}
    spec = reconciler.ReconcilerSpec("image", schedule, "", metrics_namespace="monitoring")
    container = reconciler._container(spec)
    options = program._parse(container["args"])
    assert dict(options.run) == spec.schedule
    assert str(options.metrics) == reconciler.METRICS
    assert (options.health_port, str(options.inventory)) == (8080, "/etc/tenantry/reconciler/inventory.yml")


@pytest.mark.parametrize("text", ["self_service", "=300", "self_service=0", "self_service=5m"])
def test_a_schedule_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program._parse(["--inventory", "hosts.yml", f"--run={text}"])
    assert "is not PLAYBOOK=SECONDS" in capsys.readouterr().err


def test_two_processes_have_different_names() -> None:
    words = ["--inventory", "hosts.yml", "--run=self_service=1"]
    assert program._parse(words).holder != program._parse(words).holder
