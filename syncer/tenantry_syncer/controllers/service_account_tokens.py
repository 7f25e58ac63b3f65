"""Service account tokens and trust bundles of the virtual cluster for its pods, in one Secret on the host per pod.

Tokens are renewed in time. The first ones are issued before the host has chosen a node, so that the pod does not wait
for them. Once it has, they are issued again, and name the node. The kubelet reads the Secret again as soon as it has
started a container, and then every minute or so. Bundles are read again every minute.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from tenantry_syncer import naming
from tenantry_syncer.controllers import trust_bundles
from tenantry_syncer.controllers.events import REJECTED_RETRY_SECONDS, Events
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import NODE, POD, SECRET, SERVICE_ACCOUNT, TOKEN
from tenantry_syncer.kube.work_queue import RequeueAfter
from tenantry_syncer.sync_context import STALE_RETRY_SECONDS, SyncContext
from tenantry_syncer.translate.pod_status import is_finished
from tenantry_syncer.translate.pod_volumes import bundle_sources, token_secret, token_sources

# As in the kubelet, a token is renewed after 80% of its lifetime or a day.
_SHARE, _LONGEST = 0.8, timedelta(hours=24)
# Seconds until bundles are read again, and until a missing one is looked for again: the pod waits for it.
_BUNDLE_AGE, _BUNDLE_RETRY = 60.0, 10.0


class Tokens:
    """Requests tokens for pods and reads their trust bundles, and keeps both current in Secrets on the host."""

    def __init__(self, context: SyncContext, events: Events) -> None:
        self._context = context
        self._events = events

    async def reconcile(self, namespace: str, name: str, host_pod: str = "") -> float | None:
        """Keep the pod's Secret current; return the seconds until that is due again, or None.

        `host_pod` is a future name of the host pod.
        """
        pod = self._context.virtual.get(POD, namespace, name)
        wanted = pod if pod is not None and has_sources(pod) else None
        secret = token_secret(host_pod or self._context.host_pod_name_for(wanted)) if wanted else ""
        host_object, in_the_way = None, False
        for _namespace, one in self._context.host.by_index(SECRET, f"{namespace}/{name}"):
            found = self._context.host.get(SECRET, "", one)
            if found is None:
                continue
            if one == secret and self._context.is_host_object_of(found, pod):
                host_object = found
            else:
                await self._context.host.delete(SECRET, found)
                in_the_way = in_the_way or one == secret
        if in_the_way:
            return 0.1
        if wanted is None or is_finished(wanted):
            return None
        bundles, again = await self._bundles(wanted)
        mark = {naming.BUNDLES: _fingerprint(bundles)} if bundles else {}
        left = _left(host_object) if host_object else 0.0
        node = self._node(wanted)
        if host_object is None or left <= 0 or node != host_object["metadata"]["annotations"].get(naming.NODE, ""):
            left = await self._issue(wanted, host_object, secret, bundles, {**mark, naming.NODE: node})
        elif not mark.items() <= host_object["metadata"]["annotations"].items():
            changes = {"data": bundles, "metadata": {"annotations": mark}}
            await self._context.host.merge(SECRET, host_object, changes)
        return min(left, again)

    def _node(self, pod: dict) -> str:
        """Return the UID of the node that a new token of the pod names; empty if it names none."""
        node = self._context.virtual.get(NODE, "", pod["spec"].get("nodeName", "")) if token_sources(pod) else None
        return node["metadata"]["uid"] if node else ""

    async def _issue(
        self, pod: dict, host_object: dict | None, name: str, bundles: Mapping[str, str], mark: Mapping[str, str]
    ) -> float:
        data, renewal = dict(bundles), datetime.max.replace(tzinfo=UTC)
        for key, source in token_sources(pod):
            token, due = await self._request(pod, source)
            data[key] = _encoded(token)
            renewal = min(renewal, due)
        metadata = naming.metadata(self._context.config.labels, TOKEN, pod, name)
        metadata["annotations"] |= {naming.RENEW: renewal.isoformat(), **mark}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
        if host_object:
            host_object = await self._context.host.merge(SECRET, host_object, {"data": data, "metadata": metadata})
        else:
            host_object = await self._context.host.create(SECRET, secret)
        return _left(host_object)

    async def _bundles(self, pod: dict) -> tuple[dict[str, str], float]:
        """Return the certificates by key, and the seconds until they are read again."""
        found, again = {}, math.inf
        for key, source in bundle_sources(pod):
            again = min(again, _BUNDLE_AGE)
            try:
                # One at a time: a bundle can be large.
                async with self._context.reference_lock:
                    text = await trust_bundles.certificates(self._context.virtual.api, source)
            except trust_bundles.TooManyCertificates:
                message = (
                    f"The trust bundles of {_described(source)} are too large. Mount bundles with at most "
                    f"{trust_bundles.MAX_BYTES // 1024} KiB of certificates."
                )
                await self._events.reject(POD, pod, "TooLarge", message)
                continue
            if text is not None or source.get("optional"):
                found[key] = _encoded(text or "")
            else:
                message = f"There is no trust bundle {_described(source)}. The pod starts when there is one."
                await self._events.reject(POD, pod, "MissingTrustBundle", message)
                again = _BUNDLE_RETRY
        return found, again

    async def _request(self, pod: dict, source: dict) -> tuple[str, datetime]:
        """Request a token bound to this pod from the virtual API server; return it and the time of its renewal."""
        metadata = pod["metadata"]
        account = pod["spec"].get("serviceAccountName") or "default"
        spec = {
            "audiences": [source["audience"]] if source.get("audience") else [],
            "expirationSeconds": source.get("expirationSeconds", 3607),
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]},
        }
        path = SERVICE_ACCOUNT.path(metadata["namespace"], account, "token")
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        try:
            issued = (await self._context.virtual.api.create(path, body))["status"]
        except ApiError as error:
            await self._report_refusal(pod, error)
            raise
        expires = datetime.fromisoformat(issued["expirationTimestamp"])
        lifetime = expires - datetime.now(UTC)
        return issued["token"], datetime.now(UTC) + min(lifetime * _SHARE, _LONGEST)

    async def _report_refusal(self, pod: dict, error: ApiError) -> None:
        """Raise RequeueAfter if the API server refuses a token, and record an event, as the kubelet would."""
        if error.status == 409:  # the pod is another one by now
            raise RequeueAfter(STALE_RETRY_SECONDS) from None
        if Events.is_rejection(error) or "serviceaccounts" in error.message:
            await self._events.reject(POD, pod, "TokenRefused", error.message)
            raise RequeueAfter(REJECTED_RETRY_SECONDS) from None


def has_sources(pod: dict) -> bool:
    """Return whether the pod needs a Secret with tokens or trust bundles."""
    return bool(token_sources(pod) or bundle_sources(pod))


def _described(source: Mapping) -> str:
    if source.get("name"):
        return str(source["name"])
    return f"of the signer {source.get('signerName')} that labelSelector matches"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _fingerprint(bundles: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(bundles.items())).encode()).hexdigest()


def _left(secret: dict) -> float:
    due = secret["metadata"]["annotations"].get(naming.RENEW)
    return (datetime.fromisoformat(due) - datetime.now(UTC)).total_seconds() if due else 0.0


def is_tokens(secret: dict) -> bool:
    """Return whether the Secret on the host has tokens of a pod."""
    return secret["metadata"]["labels"].get(naming.COMPONENT) == TOKEN
