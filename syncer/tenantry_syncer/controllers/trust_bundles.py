"""ClusterTrustBundles of the virtual cluster that its pods mount, as the kubelet would read them.

They are read when a pod needs them, one at a time, and not followed: the kubelet, too, updates them about every minute.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator

from tenantry_syncer.kube import reduced
from tenantry_syncer.kube.client import Api, ApiError
from tenantry_syncer.kube.resources import TRUST_BUNDLES, Kind
from tenantry_syncer.translate.pod_scheduling import matches

# Of one volume source. The Secret that has the certificates must stay below 1 MiB.
MAX_BYTES = 512 * 1024
MAX_BUNDLES = 500
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


class TooManyCertificates(Exception):
    """The bundles of a volume source exceed MAX_BYTES or MAX_BUNDLES."""


async def certificates(api: Api, source: dict) -> str | None:
    """Return the certificates of a clusterTrustBundle source as PEM, each once; None if it finds no bundle."""
    for kind in TRUST_BUNDLES:
        names = [source["name"]] if source.get("name") else await _names(api, kind, source)
        if len(names) > MAX_BUNDLES:
            raise TooManyCertificates
        bundles = [one async for one in _contents(api, kind, names)]
        if bundles:
            return "".join(sorted(set().union(*bundles)))
    return None


async def _contents(api: Api, kind: Kind, names: list[str]) -> AsyncIterator[set[str]]:
    """Yield the certificates of each bundle that exists."""
    length = 0
    for name in names:
        obj = await api.read(kind.path(None, name))
        if obj is None:
            continue
        if reduced.is_reduced(obj):
            raise TooManyCertificates
        found = {_normalized(one) for one in _CERTIFICATE.findall(obj["spec"]["trustBundle"])}
        length += sum(map(len, found))
        if length > MAX_BYTES:
            raise TooManyCertificates
        yield found


def _normalized(certificate: str) -> str:
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(certificate))


async def _names(api: Api, kind: Kind, source: dict) -> list[str]:
    """Return the names of the signer's bundles that the selector matches: none without a selector, all if empty."""
    selector = source.get("labelSelector")
    if selector is None:
        return []
    try:
        return [
            one["metadata"]["name"]
            async for page, _version in api.pages(
                kind.path(), partial=True, fieldSelector=f"spec.signerName={source['signerName']}"
            )
            for one in page
            if matches(selector, one["metadata"].get("labels") or {})
        ]
    except ApiError as error:
        if error.status == 404:  # the virtual API server does not serve this version
            return []
        raise
