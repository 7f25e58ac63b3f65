"""Tokens of the virtual cluster's service accounts for its pods: in a Secret of the host per pod, renewed in time."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from tenantry_syncer import names
from tenantry_syncer.kinds import POD, SECRET, SERVICE_ACCOUNT, TOKEN
from tenantry_syncer.pod_spec import token_secret, token_sources
from tenantry_syncer.pod_status import is_finished
from tenantry_syncer.sides import Sides

_RENEWAL = "tenantry.dev/renew"
# The kubelet does the same: renewed after four fifths of its life, or a day.
_SHARE, _LONGEST = 0.8, timedelta(hours=24)


class Tokens:
    def __init__(self, sides: Sides) -> None:
        self._sides = sides

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Seconds until the pod's tokens have to be looked at again."""
        pod = self._sides.inside.get(POD, namespace, name)
        copy = self._sides.host.get(SECRET, "", token_secret(namespace, name))
        wanted = pod is not None and bool(token_sources(pod))
        if copy and (not wanted or not self._sides.is_copy(copy, pod)):
            await self._sides.host.delete(SECRET, copy)
            return 0.1 if wanted else None
        if not wanted or is_finished(pod):
            return None
        if copy and (left := _left(copy)) > 0:
            return left
        return await self._issue(pod, copy)

    async def _issue(self, pod: dict, copy: dict | None) -> float | None:
        tokens, renewal = {}, datetime.max.replace(tzinfo=UTC)
        for key, source in token_sources(pod):
            token, due = await self._request(pod, source)
            tokens[key] = base64.b64encode(token.encode()).decode()
            renewal = min(renewal, due)
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        metadata = names.metadata(self._sides.config.labels, TOKEN, pod, token_secret(namespace, name))
        metadata["annotations"][_RENEWAL] = renewal.isoformat()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": tokens}
        if copy:
            copy = await self._sides.host.merge(SECRET, copy, {"data": tokens, "metadata": metadata})
        else:
            copy = await self._sides.host.create(SECRET, secret)
        return _left(copy)

    async def _request(self, pod: dict, source: dict) -> tuple[str, datetime]:
        """By the API server inside, for this pod alone: the token dies with it."""
        metadata = pod["metadata"]
        account = pod["spec"].get("serviceAccountName") or "default"
        spec = {
            "audiences": [source["audience"]] if source.get("audience") else [],
            "expirationSeconds": source.get("expirationSeconds", 3607),
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]},
        }
        path = SERVICE_ACCOUNT.path(metadata["namespace"], account, "token")
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        issued = (await self._sides.inside.api.create(path, body))["status"]
        expires = datetime.fromisoformat(issued["expirationTimestamp"])
        life = expires - datetime.now(UTC)
        return issued["token"], datetime.now(UTC) + min(life * _SHARE, _LONGEST)


def _left(secret: dict) -> float:
    due = secret["metadata"]["annotations"].get(_RENEWAL)
    return (datetime.fromisoformat(due) - datetime.now(UTC)).total_seconds() if due else 0.0


def is_tokens(secret: dict) -> bool:
    return secret["metadata"]["labels"].get(names.COMPONENT) == TOKEN
