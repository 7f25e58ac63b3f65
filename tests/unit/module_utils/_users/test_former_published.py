"""The CA that a revocation replaced is no longer published in the virtual cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Key
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import client_ca_renewal

from .test_access import CA, FORMER, World, _finds, world

__all__ = ["world"]


def _published(pem: str, **meta: Any) -> dict:
    kind, name, namespace = client_ca_renewal.PUBLISHED
    found = {"apiVersion": "v1", "kind": kind.rpartition("/")[2], "data": {"client-ca-file": f"k3s\n{pem}"}}
    return {**found, "metadata": {"name": name, "namespace": namespace, **meta}}


def _ended(world: World) -> str:
    return client_ca_renewal.certificate(world.hub.get(*CA)) or ""


def test_published_ca_that_a_finalizer_keeps_is_an_error(world: World) -> None:
    world.inside.add(_published(_ended(world), finalizers=["eve/stay"]))
    error = world.run(revoke=True)["error"]
    assert "kube-system/extension-apiserver-authentication is being deleted, but" in error
    assert "finalizer eve/stay. Remove the finalizer with kubectl, then run again" in error
    assert world.annotations == {FORMER: ""}
    del world.inside.objects[Key(*(client_ca_renewal.PUBLISHED[i] for i in (0, 2, 1)))]
    assert _finds(world.run(revoke=True)) == ["eve"]
    assert world.annotations == {}


def test_published_ca_that_comes_back_is_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    again, delete = _published(_ended(world)), world.inside.delete

    def deleted(*what: Any, **options: Any) -> bool:
        done = delete(*what, **options)
        if "ConfigMap" in what[0]:
            world.inside.add({**again, "metadata": {**again["metadata"], "uid": "new"}})
        return done

    world.inside.add(again)
    monkeypatch.setattr(world.inside, "delete", deleted)
    assert "contains the replaced CA again" in world.run(revoke=True)["error"]


@pytest.mark.parametrize("comes", [True, False])
def test_published_ca_recreated_or_gone_is_fine(world: World, monkeypatch: pytest.MonkeyPatch, comes: bool) -> None:
    delete = world.inside.delete

    def deleted(*what: Any, **options: Any) -> bool:
        done = delete(*what, **options)
        if comes and "ConfigMap" in what[0]:
            world.inside.add(_published("new", uid="new"))
        return done

    world.inside.add(_published(_ended(world)))
    monkeypatch.setattr(world.inside, "delete", deleted)
    assert not world.run(revoke=True)["error"]


def test_published_ca_that_comes_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [_published("old", uid="before"), None, _published("old", uid="later"), _published("new", uid="later")]
    api = SimpleNamespace(get=lambda *_of: answers.pop(0), delete=lambda *_of: True)
    monkeypatch.setattr(client_ca_renewal.Deadline, "pause", lambda *_of: None)
    client_ca_renewal.end_published(api, "old")
    assert not answers
