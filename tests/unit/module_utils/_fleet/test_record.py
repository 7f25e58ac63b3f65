"""The record of a virtual cluster, as written by this and by an older release."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import (
    FORMAT,
    NO_RECORD,
    SPEC_ANNOTATION,
    VClusterRecord,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.diff import differences
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster as manifests
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import check_change, parse

from .._vcluster.example import make_item, render

# Written by the code of commit 92a13b9, from these changes of the example.
OLD = json.loads(Path(__file__).with_name("records_of_format_0.json").read_text())


def read(text: str | None) -> VClusterRecord:
    return VClusterRecord.of(namespace(text))


def namespace(text: str | None) -> dict[str, Any]:
    return {"metadata": {"name": "payments--dev", "annotations": {} if text is None else {SPEC_ANNOTATION: text}}}


def today(text: str) -> dict[str, Any]:
    """What an annotation of format 0 says, with the names of fields of format 1."""
    return {{"slice": "resources", "expires": "ttl"}.get(name, name): value for name, value in json.loads(text).items()}


@pytest.mark.parametrize("name", OLD)
def test_old_record_reads_as_new_one(name: str) -> None:
    raw = today(OLD[name]["annotation"])
    record = read(OLD[name]["annotation"])
    assert dataclasses.asdict(record) == {"oidc": None, "paused": None, "request": None, **raw}
    spec = parse(make_item(**OLD[name]["changes"]))
    # Mode shared has more resources since.
    assert record == dataclasses.replace(spec.record(OLD[name]["address"]), resources=raw["resources"])
    check_change(record, spec)


@pytest.mark.parametrize("amount", ["abc", "9e60", "1e21", "-1", True, None, [1]])
def test_amounts_that_are_none_make_the_record_unreadable(amount: object) -> None:
    for name in ("cpu", "nvidia.com/gpu"):
        text = json.dumps({"resources": {name: amount}, "format": FORMAT})
        with pytest.raises(Obstacle, match=rf"payments--dev: the field resources\.{name} is not a quantity"):
            read(text)
    assert read("[" * 100_000) == NO_RECORD


@pytest.mark.parametrize("name", OLD)
def test_new_text_differs_by_format_only(name: str) -> None:
    old = OLD[name]["annotation"]
    written = read(old).as_text()
    assert json.loads(written) == {**today(old), "format": FORMAT}
    assert read(written) == read(old)


@pytest.mark.parametrize("name", OLD)
def test_old_text_stays_until_a_field_changes(name: str) -> None:
    old = OLD[name]["annotation"]
    record = read(old)
    assert record.as_text(old) == old
    later = dataclasses.replace(record, deletion_protection=not record.deletion_protection)
    assert json.loads(later.as_text(old))["format"] == FORMAT


@pytest.mark.parametrize("name", ["dedicated", "external", "oidc", "without_volume"])
def test_old_record_alone_is_no_change(name: str) -> None:
    old, address, changes = (OLD[name][key] for key in ("annotation", "address", "changes"))
    desired = manifests.everything(render({"address": address, "recorded": old}, **changes))
    live = copy.deepcopy(desired)
    live[0]["metadata"]["annotations"][SPEC_ANNOTATION] = old
    assert [differences(*pair) for pair in zip(desired, live, strict=True)] == [[]] * len(live)
    later = manifests.everything(render({"address": address, "recorded": old}, **{**changes, "ttl": "7d"}))
    assert differences(later[0], live[0]) == [f"metadata.annotations[{SPEC_ANNOTATION}]"]
    assert json.loads(later[0]["metadata"]["annotations"][SPEC_ANNOTATION])["format"] == FORMAT


def test_new_record_has_the_format() -> None:
    text = manifests.everything(render())[0]["metadata"]["annotations"][SPEC_ANNOTATION]
    assert json.loads(text)["format"] == FORMAT
    again = manifests.everything(render({"recorded": text}))[0]["metadata"]["annotations"][SPEC_ANNOTATION]
    assert again == text


@pytest.mark.parametrize("format_", [FORMAT + 1, "2"])
def test_newer_format_is_refused(format_: object) -> None:
    newer = json.dumps({"format": format_, "mode": "shared", "something": "else"})
    with pytest.raises(
        Obstacle, match=rf"namespace payments--dev: has format {format_}.*up to {FORMAT}\. Use the newer"
    ):
        read(newer)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}"])
def test_missing_or_broken_record_is_none(text: str | None) -> None:
    assert read(text) == NO_RECORD


@pytest.mark.parametrize("field", [{"request": "text"}, {"agents": "1"}, {"resources": []}])
def test_field_of_wrong_type_is_named(field: dict[str, Any]) -> None:
    with pytest.raises(Obstacle, match=f"field {next(iter(field))} is of a wrong type"):
        read(json.dumps(field))


def test_null_and_unknown_fields_of_old_records() -> None:
    assert read('{"resources": null, "former": 1}') == NO_RECORD
    assert read('{"mode": "shared"}') == dataclasses.replace(NO_RECORD, mode="shared")
