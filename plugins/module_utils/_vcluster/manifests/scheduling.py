# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scheduling of a virtual cluster's own pods, and credentials for their images. Pure."""

from __future__ import annotations

import json

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import encoded
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    RenderContext,
    secret,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.scheduling import REQUIRED, Placement

PULL_SECRET = "image-pull"  # noqa: S105 - a name
HOST = "kubernetes.io/hostname"


def fields(rendering: RenderContext, part: str, placement: Placement) -> dict:
    """Return the scheduling fields of a part's pod."""
    found: dict = {}
    if placement.node_selector:
        found["nodeSelector"] = placement.node_selector
    if placement.tolerations:
        found["tolerations"] = list(placement.tolerations)
    if placement.runtime_class:
        found["runtimeClassName"] = placement.runtime_class
    if rendering.spec.image_credentials:
        found["imagePullSecrets"] = [{"name": PULL_SECRET}]
    return found | _spread(rendering.selector(part), placement)


def beside(labels: dict[str, str]) -> dict:
    """Return fields that put a pod on the node of the pod with these labels."""
    term = {"topologyKey": HOST, "labelSelector": {"matchLabels": labels}}
    return {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


def pull_secrets(rendering: RenderContext) -> list[dict]:
    """Render the image pull Secret, if there are credentials."""
    if not rendering.spec.image_credentials:
        return []
    auths = {}
    for one in rendering.spec.image_credentials:
        auths[one["registry"]] = {"auth": encoded(f"{one['username']}:{one['password']}")}
    values = {".dockerconfigjson": json.dumps({"auths": auths}, sort_keys=True)}
    return [{**secret(rendering.metadata(PULL_SECRET), values), "type": "kubernetes.io/dockerconfigjson"}]


def _spread(labels: dict[str, str], placement: Placement) -> dict:
    """Spread pods of one part over nodes, if possible or, if required, always."""
    selector = {"matchLabels": labels}
    if placement.anti_affinity == REQUIRED:
        term = {"topologyKey": HOST, "labelSelector": selector}
        return {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}
    even = {"maxSkew": 1, "topologyKey": HOST, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector}
    return {"topologySpreadConstraints": [even]}
