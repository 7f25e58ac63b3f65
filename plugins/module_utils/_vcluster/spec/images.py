# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the images of a virtual cluster come from, as asked for. Pure."""

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
    """A repository, or one image in it by its digest, which then must be of the version that is asked for."""
    if not _REPOSITORY.fullmatch(repository) or repository.count("/") == 0:
        raise TenantryError(
            f"image: {shown(repository)} is not a repository such as rancher/k3s or registry.example.com/rancher/k3s. "
            "Write it without a tag, which follows from version; a digest may follow it, as in @sha256:HEX"
        )
    return repository


def with_tag(repository: str, tag: str) -> str:
    """The reference; with a digest that is what counts, and the tag is for people."""
    name, at, digest = repository.partition("@")
    return f"{name}:{tag}{at}{digest}"


def of_tag(reference: str, tag: str) -> str:
    """The image of another tag in the same repository. A digest stays only where the tag does."""
    name = reference.partition("@")[0]
    repository, _colon, before = name.rpartition(":")
    return reference if before == tag else f"{repository}:{tag}"


def parse_reference(reference: str, option: str, example: str) -> str:
    """A full one, with tag or digest."""
    if not _REFERENCE.fullmatch(reference) or not {":", "@"} & set(reference.rpartition("/")[2]):
        raise TenantryError(
            f"{option}: {shown(reference)} is not a full reference such as {example}. "
            "Use registry, repository and tag or digest"
        )
    return reference


def parse_registries(given: dict) -> dict:
    """The top level of k3s's registries.yaml; k3s itself checks the rest."""
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
    """For the host's own pulls of the images of server, agents and syncer."""
    for one in given:
        if not _REGISTRY.fullmatch(one["registry"]):
            raise TenantryError(
                f"image_credentials: {shown(one['registry'])} is not a registry such as registry.example.com:5000. "
                "Write it without scheme and path"
            )
    return tuple(given)
