"""Flows of modules in plugins: options as modules have them, and one line for whatever goes wrong."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils import _masking, _module
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.plugin_utils import _context


class Failed(Exception):
    pass


def run(flow: Any, **given: Any) -> Any:
    return _context.run(given, pytest.fail, flow, Failed)


def test_run_options_are_those_of_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", "/etc/hub.yaml")
    params = run(lambda context: context.module.params, context="admin", plugin="ignored")
    assert (params["kubeconfig"], params["context"], params["timeout"]) == ("/etc/hub.yaml", "admin", 30)
    assert set(params) == set(_module.argument_spec())


def test_run_invalid_option_is_one_line() -> None:
    with pytest.raises(Failed, match="timeout") as caught:
        run(pytest.fail, timeout="soon")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_hub")
def test_run_without_hub_says_what_to_set() -> None:
    with pytest.raises(Failed, match=r"^kubeconfig: "):
        run(lambda context: context.hub)


def test_run_unexpected_error_is_one_line() -> None:
    def fail(_context: Context) -> None:
        raise RuntimeError("boom\nwith a token: eyJhbGciOiJSUzI1NiJ9.e30.c2ln")

    with pytest.raises(Failed, match="unexpected RuntimeError: boom with a token: <redacted>") as caught:
        run(fail)
    assert "\n" not in str(caught.value)


def test_run_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_context, "LIBRARIES", ("no_such_library",))
    with pytest.raises(Failed, match="no_such_library"):
        run(pytest.fail)


def test_run_secrets_are_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """From ansible-core 2.22 on, which masks them in all output."""
    found: list[str] = []
    monkeypatch.setattr(_masking, "register_secrets", found.extend)
    run(lambda context: context.secret("first", None, "second"))
    assert found == ["first", "second"]
