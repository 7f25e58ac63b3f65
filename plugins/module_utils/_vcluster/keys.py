# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The keys of a virtual cluster, created once. Of concurrent runs, the first that stores them wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import ETCD
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import RIGHTS_DELAY
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import SECRET
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import decoded
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, is_forbidden, retry
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import client_ca as client_ca_manifests
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import (
    etcd_certificates,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.cluster import (
    client_ca,
    join_token,
    platform_credential,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    CLIENT_CA,
    JOIN_TOKEN,
    PLATFORM_CREDENTIAL,
    Keys,
    RenderContext,
    keys,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import CERTIFICATES, certificates
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import VClusterSpec


def new(spec: VClusterSpec) -> Keys:
    """Return new keys."""
    etcd = etcd_certificates.make(spec.namespace, ETCD) if spec.etcd else None
    return keys(None, None, etcd, _client_ca(spec, {}))


def kept(host: Cluster, spec: VClusterSpec) -> tuple[Keys, bool]:
    """Return the keys in the existing Secrets, new ones where a Secret is missing, and whether all Secrets exist."""
    names = [JOIN_TOKEN, PLATFORM_CREDENTIAL, CLIENT_CA, *([CERTIFICATES] if spec.etcd else [])]
    join, credential, authority, *etcd = found = [host.get(SECRET, name, spec.namespace) for name in names]
    files = decoded(etcd[0]) if etcd else {}
    if spec.etcd and not files:
        files = etcd_certificates.make(spec.namespace, ETCD)
    return keys(join, credential, files, _client_ca(spec, decoded(authority))), None not in found


def _client_ca(spec: VClusterSpec, files: Mapping[str, str]) -> dict[str, str]:
    return client_ca_manifests.kept_or_new(files, spec.namespace, accepted=spec.client_certificates)


def claim(host: Cluster, rendering: RenderContext) -> RenderContext:
    """Store the keys. Return the context with these or, if another run was first, with its keys."""
    for secret in (join_token(rendering), platform_credential(rendering), client_ca(rendering)):
        _store(host, secret)
    if rendering.spec.etcd:
        _store(host, certificates(rendering))
    return replace(rendering, keys=kept(host, rendering.spec)[0])


def _store(host: Cluster, secret: dict) -> None:
    """Create the Secrets. An apply would let a second run replace the keys that the first already uses."""
    meta = secret["metadata"]
    try:
        retry(lambda: host.create(secret), is_forbidden, Deadline(RIGHTS_DELAY))
    except ApiError as error:
        answer_lost = error.transient and host.get(SECRET, meta["name"], meta["namespace"])
        if error.status != 409 and not answer_lost:
            raise
