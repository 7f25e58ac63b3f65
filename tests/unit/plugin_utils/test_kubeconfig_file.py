"""Kubeconfigs as files of a run."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import yaml
from ansible import constants
from ansible_collections.tenantry.kube.plugins.plugin_utils import _kubeconfig_file

CONFIG = {"kind": "Config", "users": [{"name": "x", "user": {"token": "secret"}}]}


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))


def unasked() -> dict:
    raise AssertionError("the API server is asked although the file is fresh")


def test_path_for_file_is_private_and_used_again() -> None:
    path = Path(_kubeconfig_file.path_for(["payments--dev"], lambda: CONFIG))
    assert yaml.safe_load(path.read_text()) == CONFIG
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert _kubeconfig_file.path_for(["payments--dev"], unasked) == str(path)


def test_path_for_other_question_has_its_own_file() -> None:
    paths = {_kubeconfig_file.path_for([name], lambda: CONFIG) for name in ("payments--dev", "payments--prod")}
    assert len(paths) == 2


@pytest.mark.parametrize("seconds", [-_kubeconfig_file.FRESH - 1, 3600])
def test_path_for_old_file_is_renewed(seconds: float) -> None:
    path = Path(_kubeconfig_file.path_for(["payments--dev"], dict))
    changed = path.stat().st_mtime + seconds
    os.utime(path, (changed, changed))
    _kubeconfig_file.path_for(["payments--dev"], lambda: CONFIG)
    assert yaml.safe_load(path.read_text()) == CONFIG
