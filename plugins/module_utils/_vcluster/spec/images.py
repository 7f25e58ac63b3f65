# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sources of a virtual cluster's images, validated. Pure."""

from __future__ import annotations

import re

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown

_REGISTRY = re.compile(r"[a-z0-9.-]+(?::[0-9]{1,5})?", re.ASCII)
_REFERENCE = re.compile(
    r"[a-z0-9.-]+(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_REPOSITORY = re.compile(
    r"[a-z0-9.-]+(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*(?:@sha256:[0-9a-f]{64})?", re.ASCII
)


def parse_image(repository: str) -> str:
    """Validate a repository, optionally with the digest of an image, which must then be of the desired version."""
    if not _REPOSITORY.fullmatch(repository) or repository.count("/") == 0:
        raise TenantryError(
            f"image: {shown(repository)} is not a repository such as rancher/k3s or registry.example.com/rancher/k3s. "
            "Write it without a tag, which follows from version; a digest may follow it, as in @sha256:HEX"
        )
    return repository


def with_tag(repository: str, tag: str) -> str:
    """Return the reference with a tag. If there is a digest, it decides, and the tag is informative."""
    name, at, digest = repository.partition("@")
    return f"{name}:{tag}{at}{digest}"


def of_tag(reference: str, tag: str) -> str:
    """Return the image with another tag in the same repository. A digest is kept only if the tag stays."""
    name = reference.partition("@")[0]
    repository, _colon, before = name.rpartition(":")
    return reference if before == tag else f"{repository}:{tag}"


def parse_reference(reference: str, option: str, example: str) -> str:
    """Validate a full reference with tag or digest. `option` begins the error."""
    if not _REFERENCE.fullmatch(reference) or not {":", "@"} & set(reference.rpartition("/")[2]):
        raise TenantryError(
            f"{option}: {shown(reference)} is not a full reference such as {example}. "
            "Use registry, repository and tag or digest"
        )
    return reference


def parse_registries(given: dict) -> dict:
    """Validate the top level of k3s's registries.yaml. k3s checks the rest."""
    known = ("mirrors", "configs")
    for key, value in given.items():
        if key not in known:
            raise TenantryError(
                f"registries.{key}: is unknown{naming.did_you_mean(key, known)}; known are {', '.join(known)}"
            )
        if not isinstance(value, dict):
            raise TenantryError(f"registries.{key}: must be a dictionary by registry")
    return given


def parse_credentials(given: list[dict]) -> tuple[dict, ...]:
    """Validate the credentials with which the host pulls images of servers, agents and syncer."""
    for one in given:
        if not _REGISTRY.fullmatch(one["registry"]):
            raise TenantryError(
                f"image_credentials: {shown(one['registry'])} is not a registry such as registry.example.com:5000. "
                "Write it without scheme and path"
            )
    return tuple(given)
