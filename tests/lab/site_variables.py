"""Variables of an inventory whose hub the role `platform` installs from the lab's mirror."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .tenantry_lab.release import AIRGAP, BINARY, CHECKSUMS, VCLUSTER, read_checksums
from .tenantry_lab.syncer import image_name


def of_machine(address: str, user: str, ssh_config: Path | str) -> dict[str, str]:
    """Return how Ansible reaches a machine of the lab."""
    return {
        "ansible_host": address,
        "ansible_user": user,
        "ansible_ssh_common_args": f"-F '{ssh_config}'",
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def of_release(directory: Path, version: str) -> dict[str, Any]:
    """Return the release of the hub, with the checksums of its files in `directory`; none match if there is none."""
    sums = read_checksums((directory / CHECKSUMS).read_text()) if directory.exists() else {}
    return {
        "platform_version": version,
        "platform_checksum": f"sha256:{sums.get(BINARY, '0' * 64)}",
        "platform_airgap_images": [
            {"name": name, "checksum": f"sha256:{sums.get(name)}"} for name in (AIRGAP, VCLUSTER)
        ],
    }


def registries(mirror: str) -> dict[str, Any]:
    """Return the option `registries` by which k3s pulls from the lab's mirror."""
    return {"mirrors": {"docker.io": {"endpoint": [mirror]}}}


def of_site(folder: Path, mirror: str, tenants: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the rest: where the run writes kubeconfigs, where images and programs come from, the tenants."""
    return {
        "tenantry_output_dir": str(folder),
        "tenantry_kubeconfig": str(folder / "hub.yaml"),
        "tenantry_syncer_image": image_name(),
        "platform_release_url": f"{mirror}/releases/download",
        "platform_registries": registries(mirror),
        "tenantry_tenants": tenants,
    }
