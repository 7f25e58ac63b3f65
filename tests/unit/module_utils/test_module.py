"""What all modules share, run as Ansible runs a module: arguments in, JSON and an exit code out."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils import _module
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from module_args import patch_module_args

ITEM = {
    "tenant": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "size": {"type": "int", "default": 1},
}

Run = Callable[[_module.Context, list[dict[str, Any]]], list[dict[str, Any]]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def call(run: Run, **arguments: Any) -> dict[str, Any]:
        spec = _module.argument_spec(**ITEM, things=_module.items_option(ITEM))
        with patch_module_args(arguments), pytest.raises(SystemExit) as caught:
            _module.main(spec, run, list_option="things", item_options=ITEM, key=("tenant", "name"))
        result = _as_the_controller_shows(capsys.readouterr().out)
        assert bool(caught.value.code) == bool(result.get("failed"))
        return result

    return call


def _as_the_controller_shows(text: str) -> dict[str, Any]:
    """From ansible-core 2.22 on, a module names its secrets to the controller, which masks them."""
    for secret in json.loads(text).get("_ansible_new_secrets", ()):
        text = text.replace(secret, "$REDACTED$")
    result = json.loads(text)
    result.pop("_ansible_new_secrets", None)
    return result


def _echo(context: _module.Context, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": item["name"], "changed": item["size"] > 1, "actions": [], "size": item["size"]} for item in items]


def _thing(name: str, **more: Any) -> dict[str, Any]:
    return {"tenant": "t", "name": name, **more}


def test_one_item(call: Callable[..., dict[str, Any]]) -> None:
    result = call(_echo, **_thing("a", size=2))
    assert result["results"] == [{"name": "a", "changed": True, "actions": [], "size": 2}]
    assert (result["changed"], result["size"]) == (True, 2)


def test_many_items(call: Callable[..., dict[str, Any]]) -> None:
    result = call(_echo, things=[_thing("a"), _thing("b", size=5)])
    assert [(row["name"], row["size"], row["changed"]) for row in result["results"]] == [
        ("a", 1, False),
        ("b", 5, True),
    ]
    assert result["changed"]
    assert "size" not in result


def test_no_items(call: Callable[..., dict[str, Any]]) -> None:
    result = call(_echo, things=[])
    assert (result["changed"], result["results"]) == (False, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "missing name, tenant. Set them, or a list of items in things"),
        ({"tenant": "t"}, "missing name. Set them, or a list of items in things"),
        ({**_thing("a"), "things": []}, "things: not together with tenant. Set one item or the list"),
        ({"things": [_thing("a"), _thing("b"), _thing("a")]}, 'things: "t/a" is given twice. Give each once'),
    ],
)
def test_which_items_are_meant(call: Callable[..., dict[str, Any]], arguments: dict[str, Any], message: str) -> None:
    assert call(_echo, **arguments)["msg"] == message


def test_a_failed_item_fails_the_call_and_keeps_the_rows(call: Callable[..., dict[str, Any]]) -> None:
    def run(context: _module.Context, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        bad = {"name": "b", "changed": False, "actions": [], "error": "cannot; do this"}
        return [*_echo(context, items[:1]), bad, {**bad, "name": "c", "error": "also bad"}]

    result = call(run, things=[_thing("a", size=2), _thing("b"), _thing("c")])
    assert result["failed"]
    assert result["changed"]
    assert result["msg"] == "b: cannot; do this\nc: also bad"
    assert [row["name"] for row in result["results"]] == ["a", "b", "c"]


def test_run_each_keeps_the_actions_of_an_item_that_fails() -> None:
    def do(item: list[dict[str, str]]) -> dict[str, Any]:
        item.append({"action": "delete"})
        raise TenantryError("cannot")

    cluster = SimpleNamespace(map=lambda row, items: [row(item) for item in items])
    (row,) = _module.run_each(cluster, [[]], lambda item: {"name": "a", "actions": item}, do)
    assert row == {"name": "a", "changed": True, "actions": [{"action": "delete"}], "error": "cannot"}


@pytest.mark.parametrize("name", ["a", "cannot", "quota", "is", "vcluster"])
def test_a_failed_item_is_named_whatever_words_its_error_has(call: Callable[..., dict[str, Any]], name: str) -> None:
    def run(_context: _module.Context, _items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"name": name, "changed": False, "actions": [], "error": "a vcluster is over quota; cannot go on"}]

    assert call(run, things=[_thing(name)])["msg"] == f"{name}: a vcluster is over quota; cannot go on"


def test_an_error_about_an_option_of_the_items_name(call: Callable[..., dict[str, Any]]) -> None:
    def run(_context: _module.Context, _items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        row = {"name": "sleep", "changed": False, "actions": [], "error": "sleep: requires idle or schedule"}
        return [row, {**row, "namespace": "t--sleep"}]

    lines = call(run, things=[_thing("sleep")])["msg"].splitlines()
    assert lines == [f"{item}: sleep: requires idle or schedule" for item in ("sleep", "t--sleep")]


def test_all_bad_items_are_named_before_anything_is_done(call: Callable[..., dict[str, Any]]) -> None:
    def check(item: dict[str, Any]) -> None:
        if item["size"] > 1:
            raise TenantryError("size: too big")

    def run(context: _module.Context, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        _module.validate_all(items, check, name=lambda item: f"thing {item['name']}")
        raise AssertionError("reached")

    result = call(run, things=[_thing("a", size=2), _thing("b"), _thing("c", size=3)])
    assert result["msg"] == "thing a: size: too big\nthing c: size: too big"
    assert result["results"] == [
        {"name": "a", "tenant": "t", "changed": False, "error": "size: too big"},
        {"name": "b", "tenant": "t", "changed": False, "not_done": "other items of this call are refused"},
        {"name": "c", "tenant": "t", "changed": False, "error": "size: too big"},
    ]


def test_what_is_wrong_with_no_item_alone_is_the_error_of_each(call: Callable[..., dict[str, Any]]) -> None:
    def run(context: _module.Context, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        raise TenantryError("kubeconfig: missing. Set it")

    for given in ({"things": [_thing("a"), _thing("b")]}, _thing("a")):
        result = call(run, **given)
        assert result["msg"] == "kubeconfig: missing. Set it"
        rows = [(row["name"], row["changed"], row["error"]) for row in result["results"]]
        names = [one["name"] for one in given.get("things", [given])]
        assert rows == [(name, False, "kubeconfig: missing. Set it") for name in names]


def test_an_item_given_twice_is_named_in_its_rows(call: Callable[..., dict[str, Any]]) -> None:
    rows = call(_echo, things=[_thing("a"), _thing("b"), _thing("a")])["results"]
    assert [(row["name"], "error" in row, "not_done" in row) for row in rows] == [
        ("a", True, False),
        ("b", False, True),
        ("a", True, False),
    ]


def test_a_fault_of_ours_is_one_line_without_secrets(call: Callable[..., dict[str, Any]]) -> None:
    def run(context: _module.Context, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        context.secret("swordfish")
        raise KeyError("swordfish\nin two lines")

    message = call(run, **_thing("a"))["msg"]
    assert "unexpected KeyError" in message
    assert "please report it" in message
    assert "\n" not in message
    assert "swordfish" not in message


def test_secrets_are_masked_in_results(call: Callable[..., dict[str, Any]]) -> None:
    def run(context: _module.Context, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        context.secret("red herring", "")
        return [{"name": "a", "changed": False, "actions": [], "note": "it is red herring"}]

    assert "red herring" not in json.dumps(call(run, **_thing("a")))


@pytest.mark.parametrize(
    ("kubeconfig", "says"),
    [
        (None, "kubeconfig: no kubeconfig of the hub was given or found. Set the option, K8S_AUTH_KUBECONFIG, or "),
        ("/nonexistent", "kubeconfig: cannot read /nonexistent: No such file or directory. "),
        ("/", "kubeconfig: / is a directory. "),
    ],
)
@pytest.mark.usefixtures("no_hub")
def test_the_hubs_kubeconfig(call: Callable[..., dict[str, Any]], kubeconfig: str | None, says: str) -> None:
    message = call(lambda context, items: [context.hub.version()], **_thing("a"), kubeconfig=kubeconfig)["msg"]
    assert message.startswith(says)
    assert "\n" not in message


def test_diffs_are_shown_only_when_asked_for(call: Callable[..., dict[str, Any]]) -> None:
    def run(context: _module.Context, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        some, none = {"before": "a", "after": "b"}, {"before": "", "after": ""}
        return [{"name": "a", "changed": True, "actions": [], "diff": [some, none]}]

    assert "diff" not in call(run, **_thing("a"))
    assert call(run, **_thing("a"), _ansible_diff=True)["diff"] == [{"before": "a", "after": "b"}]
