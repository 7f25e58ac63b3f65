"""podman with a storage, state and configuration of the lab's own, apart from the computer's containers."""

from __future__ import annotations

import json
import os
from pathlib import Path

from .config import Lab
from .process import output

# Locks in files: podman's default, one shared memory segment, would be shared with the computer's own containers.
ENGINE = """[containers]
base_hosts_file = "none"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
static_dir = "{storage}/libpod"
volume_path = "{storage}/volumes"
tmp_dir = "{run}/libpod"
image_copy_tmp_dir = "storage"
[network]
network_backend = "netavark"
network_config_dir = "{storage}/networks"
"""
STORAGE = """[storage]
driver = "overlay"
graphroot = "{storage}"
runroot = "{run}/containers"
"""


def podman(lab: Lab, *arguments: str | Path) -> str:
    return output(["podman", *arguments], env=_environment(lab))


def containers(lab: Lab) -> list[dict]:
    return json.loads(podman(lab, "ps", "--all", "--format=json") or "[]")


def _environment(lab: Lab) -> dict[str, str]:
    engine, storage = lab.run / "containers.conf", lab.run / "storage.conf"
    lab.run.mkdir(parents=True, exist_ok=True)
    for path, template in ((engine, ENGINE), (storage, STORAGE)):
        path.write_text(template.format(storage=lab.storage, run=lab.run))
    return os.environ | {"CONTAINERS_CONF": str(engine), "CONTAINERS_STORAGE_CONF": str(storage)}
