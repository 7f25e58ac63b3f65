"""Service account tokens of the virtual cluster for its pods: one Secret on the host per pod, renewed in time."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from tenantry_syncer import naming
from tenantry_syncer.kube.resources import POD, SECRET, SERVICE_ACCOUNT, TOKEN
from tenantry_syncer.sync_context import SyncContext
from tenantry_syncer.translate.pod_status import is_finished
from tenantry_syncer.translate.pod_volumes import token_secret, token_sources

# As in the kubelet, a token is renewed after 80% of its lifetime or a day.
_SHARE, _LONGEST = 0.8, timedelta(hours=24)


class Tokens:
    """Requests tokens for pods, and renews them in their Secrets on the host."""

    def __init__(self, context: SyncContext) -> None:
        self._context = context

    async def reconcile(self, namespace: str, name: str, host_pod: str = "") -> float | None:
        """Issue or renew the pod's tokens; return the seconds until renewal, or None. `host_pod` is a future name."""
        pod = self._context.virtual.get(POD, namespace, name)
        wanted = pod if pod is not None and token_sources(pod) else None
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
        if host_object and (left := _left(host_object)) > 0:
            return left
        return await self._issue(wanted, host_object, secret)

    async def _issue(self, pod: dict, host_object: dict | None, name: str) -> float | None:
        tokens, renewal = {}, datetime.max.replace(tzinfo=UTC)
        for key, source in token_sources(pod):
            token, due = await self._request(pod, source)
            tokens[key] = base64.b64encode(token.encode()).decode()
            renewal = min(renewal, due)
        metadata = naming.metadata(self._context.config.labels, TOKEN, pod, name)
        metadata["annotations"][naming.RENEW] = renewal.isoformat()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": tokens}
        if host_object:
            host_object = await self._context.host.merge(SECRET, host_object, {"data": tokens, "metadata": metadata})
        else:
            host_object = await self._context.host.create(SECRET, secret)
        return _left(host_object)

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
        issued = (await self._context.virtual.api.create(path, body))["status"]
        expires = datetime.fromisoformat(issued["expirationTimestamp"])
        lifetime = expires - datetime.now(UTC)
        return issued["token"], datetime.now(UTC) + min(lifetime * _SHARE, _LONGEST)


def _left(secret: dict) -> float:
    due = secret["metadata"]["annotations"].get(naming.RENEW)
    return (datetime.fromisoformat(due) - datetime.now(UTC)).total_seconds() if due else 0.0


def is_tokens(secret: dict) -> bool:
    """Return whether the Secret on the host has tokens of a pod."""
    return secret["metadata"]["labels"].get(naming.COMPONENT) == TOKEN
