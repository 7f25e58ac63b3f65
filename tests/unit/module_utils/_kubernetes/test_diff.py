"""When an apply is needed, and what a diff may show."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import FIELD_MANAGER
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.diff import (
    differences,
    managed_part,
    normal,
    redacted,
)


def _live(obj: dict[str, Any], fields: dict[str, Any] | None = None, **entry: Any) -> dict[str, Any]:
    live = copy.deepcopy(obj)
    applied = {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields or {}, **entry}
    other = {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:data": {"f:theirs": {}}}}
    live.setdefault("metadata", {})["managedFields"] = [other, applied]
    return live


def _spec(desired: object, live: object, fields: dict[str, Any] | None = None) -> list[str]:
    return differences({"spec": desired}, _live({"spec": live}, {"f:spec": fields or {".": {}}}))


def test_what_others_added_is_theirs() -> None:
    assert _spec({"a": 1}, {"a": 1, "defaulted": True}) == []


@pytest.mark.parametrize(
    ("desired", "live"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {}),
        ({"a": "1"}, {"a": 1}),
        ({"a": True}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": 1}),
    ],
)
def test_a_differing_value(desired: dict, live: dict) -> None:
    assert _spec(desired, live) == ["spec.a"]


@pytest.mark.parametrize("nothing", [{}, [], None, {"b": {}}, {"b": None}])
def test_nothing_equals_absent(nothing: object) -> None:
    assert _spec({"a": nothing}, {}) == []


@pytest.mark.parametrize("zero", [False, 0, ""])
def test_a_zero_value_equals_absent_only_where_we_applied_it(zero: object) -> None:
    assert _spec({"a": zero}, {}, {"f:a": {}}) == []
    assert _spec({"a": zero}, {}) == ["spec.a"]
    assert _spec({"b": {"a": zero}}, {}, {"f:b": {"f:a": {}}}) == []


def test_what_we_no_longer_say_is_removed() -> None:
    fields = {"f:a": {}, "f:b": {}, "f:gone": {}}
    assert _spec({"a": 1}, {"a": 1, "b": 2}, fields) == ["spec.b"]


@pytest.mark.parametrize("entry", [{"manager": "kubectl"}, {"operation": "Update"}, {"subresource": "status"}])
def test_only_our_own_apply_counts(entry: dict[str, str]) -> None:
    live = _live({"spec": {"a": 1, "b": 2}}, {"f:spec": {"f:a": {}, "f:b": {}}}, **entry)
    assert differences({"spec": {"a": 1}}, live) == []


@pytest.mark.parametrize(
    ("path", "desired", "live"),
    [
        ("limits", "1000m", "1"),
        ("requests", 1, "1"),
        ("hard", "1024Mi", "1Gi"),
        ("max", "0.5", "500m"),
    ],
)
def test_quantities_are_equal_by_value(path: str, desired: object, live: object) -> None:
    assert _spec({path: {"x": desired}}, {path: {"x": live}}) == []
    assert _spec({path: {"x": desired}}, {path: {"x": "7"}}) == [f"spec.{path}.x"]
    assert _spec({"sizeLimit": desired}, {"sizeLimit": live}) == []


def test_text_that_looks_like_a_quantity_is_text() -> None:
    assert differences({"data": {"x": "1000m"}}, _live({"data": {"x": "1"}})) == ["data.x"]


def test_lists_have_the_same_length_and_order() -> None:
    assert _spec({"l": [1, 2]}, {"l": [1, 2]}) == []
    for other in ([1], [2, 1], [1, 2, 3]):
        assert _spec({"l": [1, 2]}, {"l": other}) == ["spec.l" if len(other) != 2 else "spec.l.0"] + (
            ["spec.l.1"] if other == [2, 1] else []
        )


RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}


@pytest.mark.parametrize("fields", [{"f:rules": {}}, {}])
def test_a_rule_is_compared_as_a_whole(fields: dict[str, Any]) -> None:
    narrower = {**RULE, "resourceNames": ["x"]}
    assert differences({"rules": [RULE]}, _live({"rules": [RULE]}, fields)) == []
    assert differences({"rules": [RULE]}, _live({"rules": [narrower]}, fields)) == ["rules.0.resourceNames"]
    assert differences({"rules": [narrower]}, _live({"rules": [RULE]}, fields)) == ["rules.0.resourceNames"]


def test_zero_values_in_a_list_we_applied() -> None:
    desired = {"subjects": [{"kind": "ServiceAccount", "name": "x", "apiGroup": ""}]}
    live = {"subjects": [{"kind": "ServiceAccount", "name": "x"}]}
    assert differences(desired, _live(live, {"f:subjects": {}})) == []


def test_a_selector_is_compared_as_a_whole() -> None:
    assert _spec({"selector": {"a": "1"}}, {"selector": {"a": "1", "b": "2"}}) == ["spec.selector.b"]


PORT = 'k:{"port":6443,"protocol":"TCP"}'


def test_a_keyed_list_may_be_in_any_order_and_hold_items_of_others() -> None:
    fields = {"f:ports": {PORT: {".": {}, "f:port": {}, "f:name": {}}}}
    live = {"ports": [{"port": 1, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP", "name": "api", "nodePort": 30}]}
    assert _spec({"ports": [{"port": 6443, "name": "api"}]}, live, fields) == []
    assert _spec({"ports": [{"port": 6443, "name": "x"}]}, live, fields) == ["spec.ports.6443,TCP.name"]
    assert _spec({"ports": []}, live, fields) == ["spec.ports.6443,TCP"]
    assert _spec({"ports": [{"port": 6443, "name": "api"}, {"port": 2}]}, live, fields) == ["spec.ports.1"]
    assert _spec({"ports": [{"port": 6443, "name": "api"}]}, {"ports": []}, fields) == ["spec.ports.6443,TCP"]


def test_a_set() -> None:
    fields = {"f:l": {'v:"a"': {}, 'v:"b"': {}}}
    assert _spec({"l": ["a", "b"]}, {"l": ["x", "b", "a"]}, fields) == []
    assert _spec({"l": ["a"]}, {"l": ["x", "b", "a"]}, fields) == ["spec.l"]
    assert _spec({"l": ["a", "b", "c"]}, {"l": ["b", "a"]}, fields) == ["spec.l"]


def test_paths_show_keys_with_dots_in_brackets() -> None:
    desired = {"metadata": {"labels": {"tenantry.dev/tenant": "x"}}}
    assert differences(desired, _live({"metadata": {}})) == ["metadata.labels"]
    assert differences(desired, _live({"metadata": {"labels": {}}})) == ["metadata.labels[tenantry.dev/tenant]"]


def _secret(**data: str) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"kind": "Secret", "metadata": {"name": "s"}, "data": encoded}


def test_string_data_is_data() -> None:
    plain = {"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"token": "abc"}}
    assert normal(plain) == _secret(token="abc")
    assert differences(plain, _live(_secret(token="abc"))) == []
    assert differences(plain, _live(_secret(token="xyz"))) == ["data.token"]
    assert "stringData" in plain


def test_no_content_of_a_secret_is_shown_and_what_changed_is_marked() -> None:
    old, new = _secret(token="swordfish", same="password"), _secret(token="marlin", same="password")
    before, after = redacted(old, new, mark="before"), redacted(new, old, mark="after")
    assert before["data"] == {"token": "<redacted: 9 bytes, before>", "same": "<redacted: 8 bytes>"}
    assert after["data"] == {"token": "<redacted: 6 bytes, after>", "same": "<redacted: 8 bytes>"}
    assert old == _secret(token="swordfish", same="password")


def test_last_applied_of_a_secret_is_not_shown() -> None:
    secret = _secret(token="x")
    secret["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "swordfish", "a": "b"}
    assert redacted(secret)["metadata"]["annotations"] == {"a": "b"}


def test_other_kinds_are_shown() -> None:
    config = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}
    assert redacted(config) == config
    assert redacted(None) is None


def test_before_has_what_we_say_and_said() -> None:
    live = _live(
        {"spec": {"a": 1, "b": 2, "default": 3, "l": [{"x": 1, "protocol": "TCP"}]}},
        {"f:spec": {"f:a": {}, "f:b": {}, "f:l": {}}},
    )
    desired = {"spec": {"a": 9, "l": [{"x": 1}]}}
    assert managed_part(live, desired) == {"spec": {"a": 1, "b": 2, "l": [{"x": 1}]}}
