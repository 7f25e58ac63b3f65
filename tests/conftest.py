"""What all tests share: the checkout importable and runnable as the collection `tenantry.kube`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLLECTIONS = ROOT / "build"


def pytest_configure() -> None:
    link = COLLECTIONS / "ansible_collections" / "tenantry" / "kube"
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(ROOT, target_is_directory=True)
    sys.path.insert(0, str(COLLECTIONS))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(COLLECTIONS), os.environ.get("PYTHONPATH")]))
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)
