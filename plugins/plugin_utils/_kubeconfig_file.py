# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kubeconfigs as files for the time of a run of Ansible, which removes their directory at its end."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from ansible import constants as C
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.kubeconfig import write_private

# A task that starts within it uses the file of the task before: a token is valid for at least as long afterwards,
# a third of its shortest lifetime.
FRESH = 300


def path_for(question: Any, answer: Callable[[], dict[str, Any]]) -> str:
    """The file with the answer to this question, readable by its owner only."""
    digest = hashlib.sha256(json.dumps(question, sort_keys=True, default=str).encode()).hexdigest()
    file = Path(C.DEFAULT_LOCAL_TMP) / f"kubeconfig-{digest[:16]}.yaml"
    if not _is_fresh(file):
        write_private(file, yaml.safe_dump(answer(), sort_keys=False))
    return str(file)


def _is_fresh(file: Path) -> bool:
    try:
        return 0 <= time.time() - file.stat().st_mtime < FRESH
    except OSError:
        return False
