"""Which conflicts of a PATCH are worth another attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster

from .api_server import api_server

NAME = {"name": "record", "namespace": "shop"}
READ = {**NAME, "resourceVersion": "7"}
PATH = "PATCH /api/v1/namespaces/shop/configmaps/record"
RACE = {"kind": "Status", "message": "the object has been modified"}
FIELD = {"kind": "Status", "details": {"causes": [{"reason": "FieldManagerConflict", "message": "conflict"}]}}


def _apply(cluster: Cluster, meta: dict[str, Any]) -> dict[str, Any]:
    return cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}, force=False)


def _apply_status(cluster: Cluster, meta: dict[str, Any]) -> dict[str, Any]:
    return cluster.apply_status({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})


def _merge(cluster: Cluster, meta: dict[str, Any]) -> dict[str, Any]:
    return cluster.merge("v1/ConfigMap", "record", "shop", {"metadata": meta})


@pytest.mark.parametrize("patch", [_apply, _apply_status, _merge])
def test_patch_that_lost_a_race_is_sent_again(patch: Callable[..., dict[str, Any]]) -> None:
    answers = iter([(409, RACE), (409, RACE), (200, {"kind": "ConfigMap"})])
    with api_server(lambda *_request: next(answers)) as (cluster, seen):
        assert patch(cluster, NAME) == {"kind": "ConfigMap"}
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("patch", "meta", "answer"), [(_merge, READ, RACE), (_apply, READ, RACE), (_apply, NAME, FIELD)]
)
def test_patch_that_cannot_succeed_is_sent_once(
    patch: Callable[..., dict[str, Any]], meta: dict[str, Any], answer: dict[str, Any]
) -> None:
    with api_server(lambda *_request: (409, answer)) as (cluster, seen), pytest.raises(ApiError) as caught:
        patch(cluster, meta)
    assert caught.value.status == 409
    assert seen == [PATH]


def test_patch_that_loses_every_race_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with api_server(lambda *_request: (409, RACE)) as (cluster, seen), pytest.raises(ApiError, match="409"):
        _merge(cluster, NAME)
    assert seen == [PATH] * 6
