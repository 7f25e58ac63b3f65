# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""k3s releases, and the upgrades that are possible. Pure."""

from __future__ import annotations

import re

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown

# The first releases whose API server can be probed without a credential and stay closed otherwise: k3s before them
# sets --anonymous-auth even where an authentication configuration is given, which the API server refuses.
OLDEST_MINOR = 32
FIRST_PATCH = {32: 5, 33: 1}
_VERSION = re.compile(r"v1\.([0-9]{1,3})\.([0-9]{1,3})\+([a-z0-9]+(?:[.-][a-z0-9]+)*)", re.ASCII)


def parse_version(version: str) -> tuple[int, int, str]:
    """Return minor, patch and build. Raise a TenantryError for anything else."""
    match = _VERSION.fullmatch(version)
    if not match:
        raise TenantryError(
            f"version: {shown(version)} is not the name of a k3s release. Use one exactly, such as v1.37.2+k3s1"
        )
    return int(match[1]), int(match[2]), match[3]


def image_tag(version: str) -> str:
    """Return the tag of k3s's image for a release."""
    return version.replace("+", "-")


def check_version(version: object) -> str:
    """Return a supported release. Raise a TenantryError otherwise."""
    if version is None:
        raise TenantryError("version: required for a new virtual cluster. Set a k3s release, such as v1.37.2+k3s1")
    if not isinstance(version, str):
        raise TenantryError(f"version: {shown(version)} is not text. Use a k3s release, such as v1.37.2+k3s1")
    minor, patch, _build = parse_version(version)
    oldest = max(minor, OLDEST_MINOR)
    if minor < OLDEST_MINOR or patch < FIRST_PATCH.get(minor, 0):
        raise TenantryError(f"version: {version} is too old. Use v1.{oldest}.{FIRST_PATCH[oldest]} or newer")
    return version


def check_upgrade(old: str, new: str) -> None:
    """Raise a TenantryError unless it is the same or one minor version up."""
    before, after = parse_version(old)[:2], parse_version(new)[:2]
    if after < before:
        raise TenantryError(
            f"version: {new} is older than {old}, which runs; Kubernetes cannot be downgraded: keep {old} or go up"
        )
    if after[0] > before[0] + 1:
        raise TenantryError(
            f"version: from {old} to {new} skips a minor version. Go to a release of v1.{before[0] + 1} first"
        )
