"""The lookup plugin on a flow that is given: its options, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleError
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._users import kubeconfig_lookup
from inventory.plugin_loading import load_plugin

try:
    from ansible.template import trust_as_template
except ImportError:  # before ansible-core 2.19
    trust_as_template = str

Asked = list[tuple[Any, ...]]
CONFIG = {"kind": "Config", "users": [{"name": "x", "user": {"token": "secret"}}]}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The arguments of each call of the flow, and the context of the kubeconfig."""
    found: Asked = []

    def run(context: Context, *arguments: Any) -> dict:
        found.append((*arguments, context.module.params["context"]))
        return {**CONFIG, "current-context": context.module.params["context"]}

    monkeypatch.setattr(kubeconfig_lookup, "run", run)
    return found


def look_up(*terms: str, **options: Any) -> list[Any]:
    return load_plugin("lookup", "kubeconfig").run(list(terms), {}, kubeconfig="/etc/hub.yaml", **options)


def test_run_options_reach_the_flow(asked: Asked) -> None:
    assert len(look_up("payments--dev", "payments--prod", user="alice", host="gcp-1")) == 2
    assert asked == [(f"payments--{name}", "alice", "gcp-1", "1h", None) for name in ("dev", "prod")]


@pytest.mark.parametrize("option", ["usr", "users", "tenant", "_terms"])
def test_run_unknown_option_is_an_error(asked: Asked, option: str) -> None:
    """Ansible ignores it, and the caller would have the administrator's kubeconfig instead of a user's."""
    with pytest.raises(AnsibleError, match=f"^{option}: is no option"):
        look_up("payments--dev", **{option: "alice"})
    assert asked == []


@pytest.mark.parametrize("mark", [str, trust_as_template])
def test_run_file_with_the_context_of_the_options(
    asked: Asked, mark: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in an inventory file, whose text has marks of Ansible."""
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    [path] = look_up("hub", file=True, context=mark("admin"))
    assert yaml.safe_load(Path(path).read_text()) == {**CONFIG, "current-context": "admin"}
    assert look_up("hub", file=True, context=mark("admin")) == [path]
    assert len(asked) == 1


def test_run_file_that_cannot_be_written_is_one_line(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path / "file"))
    with pytest.raises(AnsibleError) as caught:
        look_up("payments--dev", file=True)
    assert "\n" not in str(caught.value)
    assert len(asked) == 1
