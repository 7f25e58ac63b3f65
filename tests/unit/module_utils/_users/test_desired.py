"""Desired users, as far as argument specs cannot check them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._users.desired import DesiredUser, refuse_shared_files
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import FileStore
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfigs import (
    RequestedKubeconfig,
    UserKubeconfig,
)


@pytest.mark.parametrize("option", ["kubeconfig_path", "kubeconfigs.path"])
def test_place_of_two_users_is_refused_by_its_option(tmp_path: Path, option: str) -> None:
    def user(name: str) -> DesiredUser:
        file = UserKubeconfig(FileStore(str(tmp_path / "file"), option), "payments")
        requested = [RequestedKubeconfig("laptop", True, 60, False, file)]
        return DesiredUser("payments", name, True, "viewer", None, None, requested, False)

    with pytest.raises(TenantryError, match=f"^{option}: {tmp_path}/file is given for bob and carol. Use a separate"):
        refuse_shared_files([user("bob"), user("carol")])
