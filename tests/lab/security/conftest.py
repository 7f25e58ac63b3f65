"""Two tenants on one hub, payments with the virtual cluster dev, research with lab; payments has users of each role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import ROLES

from ..harness import call_module
from ..people import tenant_with

NAMES = {"viewer": "vera", "developer": "dan", "admin": "alice", "platform_operator": "oscar"}


@dataclass
class Scene:
    """Who acts, and where."""

    hub: Path  # administrators' kubeconfigs
    dev: Path
    lab: Path
    on_hub: dict[str, Cluster]  # the users of payments by role, as the hub knows them
    in_dev: dict[str, Cluster]
    users: dict[str, Path]  # their kubeconfigs


def connect(kubeconfig: Path, token: str | None = None, context: str | None = None) -> Cluster:
    """The cluster of a kubeconfig, with another token if one is given."""
    config = kubeconfig_files.load(str(kubeconfig), context)
    if token is not None:
        config["users"][0]["user"] = {"token": token}
    return Cluster.from_kubeconfig(config, name=kubeconfig.parent.name)


@pytest.fixture(scope="module")
def scene(platform: Path, dev: Path, stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("users")
    users = [
        {"tenant": "payments", "name": name, "role": role, "kubeconfig_path": str(folder / f"{role}.yaml")}
        for role, name in NAMES.items()
    ]
    users.append(
        {"tenant": "research", "name": "alice", "role": "admin", "kubeconfig_path": str(folder / "research.yaml")}
    )
    with tenant_with(platform, "payments", {"dev": dev}), tenant_with(platform, "research", {"lab": stage}):
        made = call_module("tenant_user", kubeconfig=platform, users=users)
        assert not made.failed, made.msg
        kubeconfigs = {role: folder / f"{role}.yaml" for role in ROLES}
        admin = connect(platform)
        yield Scene(
            hub=platform,
            dev=dev,
            lab=stage,
            on_hub={role: connect(platform, _hub_token(admin, name)) for role, name in NAMES.items()},
            in_dev={role: connect(path) for role, path in kubeconfigs.items()},
            users={**kubeconfigs, "research": folder / "research.yaml"},
        )
        gone = [{"tenant": user["tenant"], "name": user["name"], "state": "absent"} for user in users]
        removed = call_module("tenant_user", kubeconfig=platform, users=gone)
        assert not removed.failed, removed.msg


def _hub_token(admin: Cluster, name: str) -> str:
    """Nobody is handed one: users have no business on the hub. Here it shows what they could do with it."""
    return admin.token_request("tenant-payments", name, seconds=3600, bound_secret=None)[0]


def token_of(kubeconfig: Path) -> str:
    return yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"]
