"""A virtual cluster on a member whose making was killed, or whose rights were lost: run again, and it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import ModuleResult, call_module, kubectl

NAMESPACE = "payments--dev"
KINDS = "secrets,serviceaccounts,services,resourcequotas,limitranges,pvc,pdb,rolebindings,statefulsets"


@pytest.fixture(scope="module")
def hub(platform: Path, second_api_server: Path) -> Iterator[Path]:
    """A hub with a member; neither has nodes, so nothing is waited for."""
    member = {"kubeconfig": platform, "name": "edge", "member_kubeconfig": second_api_server}
    tenant = {"kubeconfig": platform, "tenant": "payments"}
    for made in (call_module("fleet_member", **member), call_module("tenant_quota", **tenant)):
        assert not made.failed, made.msg
    yield platform
    for removed in (
        call_module("tenant_quota", **tenant, state="absent"),
        call_module("fleet_member", **member, state="absent"),
    ):
        assert not removed.failed, removed.msg


def vcluster(hub: Path, **options: Any) -> ModuleResult:
    options = {"mode": "dedicated", "version": "v1.37.2+k3s1", "host": "edge", "wait": False, **options}
    return call_module("vcluster", kubeconfig=hub, tenant="payments", name="dev", **options)


@pytest.fixture
def made(hub: Path) -> Iterator[Path]:
    """The hub, with the virtual cluster on its member."""
    done = vcluster(hub)
    assert not done.failed, done.msg
    yield hub
    removed = vcluster(hub, state="absent", wait=True)
    assert not removed.failed, removed.msg


def parts(member: Path) -> dict[tuple[str, str], Any]:
    """What the namespace consists of: content of the Secrets, which must stay, and the names of all else."""
    listed = kubectl(member, "get", KINDS, "-n", NAMESPACE, "-o", "json")
    found = [item for item in json.loads(listed.stdout)["items"] if "tenantry.dev/vcluster" in str(item["metadata"])]
    return {(item["kind"], item["metadata"]["name"]): item.get("data") for item in found}


def test_lost_rights_are_given_back(made: Path, second_api_server: Path) -> None:
    whole = parts(second_api_server)
    assert kubectl(second_api_server, "delete", "rolebinding", "-n", NAMESPACE, "--all").returncode == 0
    foreseen = vcluster(made, check=True)
    assert [(row["action"], row["kind"]) for row in foreseen.data["actions"]] == [("create", "RoleBinding")]
    repaired = vcluster(made)
    assert not repaired.failed, repaired.msg
    assert repaired.data["actions"] == foreseen.data["actions"]
    assert parts(second_api_server) == whole


@pytest.mark.parametrize(
    "lost",
    [
        "secrets,serviceaccounts,services,resourcequotas,limitranges,pvc,pdb,rolebindings,statefulsets",
        "resourcequotas,limitranges,pdb,statefulsets",
        "statefulsets",
    ],
    ids=["all but the namespace", "most", "the StatefulSets"],
)
def test_killed_between_any_two_steps(made: Path, second_api_server: Path, lost: str) -> None:
    whole = parts(second_api_server)
    label = "tenantry.dev/vcluster=dev"
    gone = kubectl(second_api_server, "delete", lost, "-n", NAMESPACE, "-l", label, "--wait=false")
    assert gone.returncode == 0, gone.stderr
    again = vcluster(made)
    assert not again.failed, again.msg
    now = parts(second_api_server)
    assert now.keys() == whole.keys()
    if "secrets" not in lost:
        assert now == whole
    assert not vcluster(made).changed
