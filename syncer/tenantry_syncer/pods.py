"""Pods: made on the host as they are asked for inside, and their fate there told inside."""

from __future__ import annotations

from tenantry_syncer import names, pod_spec, pod_status, references
from tenantry_syncer.api import ApiError
from tenantry_syncer.cache import Key
from tenantry_syncer.config import Config
from tenantry_syncer.events import Events
from tenantry_syncer.kinds import CONFIG_MAP, NAMESPACE, POD, SECRET, SERVICE
from tenantry_syncer.nodes import Nodes
from tenantry_syncer.queue import Again
from tenantry_syncer.references import References
from tenantry_syncer.sides import Sides
from tenantry_syncer.tokens import Tokens


class Pods:
    def __init__(self, sides: Sides, events: Events, nodes: Nodes, copies: References, tokens: Tokens) -> None:
        self._sides = sides
        self._events = events
        self._nodes = nodes
        self._copies = copies
        self._tokens = tokens
        # How pods were when they vanished from the host, until that has been told inside.
        self._last: dict[Key, dict] = {}

    def vanished(self, host: dict) -> None:
        if key := names.virtual_key(host):
            self._last[key] = host

    async def reconcile(self, namespace: str, name: str) -> None:
        pod = self._sides.inside.get(POD, namespace, name)
        host = self._sides.copy_of(POD, namespace, name)
        if host and not self._sides.is_copy(host, pod):
            await self._remove(host, None)
        elif pod is None:
            self._last.pop((namespace, name), None)
        elif host is None:
            await self._without_copy(pod)
        else:
            await self._with_copy(pod, host)

    async def _without_copy(self, pod: dict) -> None:
        metadata = pod["metadata"]
        key = (metadata["namespace"], metadata["name"])
        last = self._last.get(key)
        if last and self._sides.is_copy(last, pod):
            pod = await self._tell(pod, last)
        if metadata.get("deletionTimestamp"):
            await self._sides.inside.delete(POD, pod, grace=0)
        elif pod_status.is_finished(pod) or pod["spec"].get("schedulingGates"):
            pass
        elif (pod.get("status") or {}).get("startTime"):
            # It ran and is gone from the host: evicted, or removed with its node. Its controller makes another.
            await self._sides.inside.delete(POD, pod, grace=0)
        else:
            await self._create(pod)
        self._last.pop(key, None)

    async def _create(self, pod: dict) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        try:
            await self._copy_references(pod)
            await self._tokens.reconcile(namespace, name)
            await self._sides.host.create(POD, pod_spec.host_pod(pod, self._surroundings(namespace)))
        except pod_spec.Refused as refused:
            await self._events.refuse(POD, pod, "Refused", str(refused))
        except ApiError as error:
            if error.reason == "AlreadyExists":
                raise Again from None  # the watch has not told yet
            await self._events.host_refused(POD, pod, self._sides.copy(POD, pod), error)

    async def _copy_references(self, pod: dict) -> None:
        """First of all: what is in some of them has a say in what the pod is."""
        for reference in references.of_pod(pod):
            await self._copies.reconcile(*reference)

    async def _with_copy(self, pod: dict, host: dict) -> None:
        metadata = pod["metadata"]
        failed: ApiError | None = None
        if metadata.get("deletionTimestamp"):
            await self._remove(host, metadata.get("deletionGracePeriodSeconds"))
        elif host["metadata"].get("deletionTimestamp") and not pod_status.is_finished(pod):
            grace = host["metadata"].get("deletionGracePeriodSeconds")
            await self._sides.inside.delete(POD, pod, grace=grace)
        else:
            failed = await self._update(pod, host)
        if host["spec"].get("nodeName"):
            await self._nodes.ensure(host["spec"]["nodeName"])
            if not pod["spec"].get("nodeName"):
                await self._bind(pod, host["spec"]["nodeName"])
        await self._tell(pod, host)
        if failed:
            await self._events.host_refused(POD, pod, host, failed)

    async def _remove(self, host: dict, grace: int | None) -> None:
        """With the tenant's time to stop, as far as the platform gives it; never with more than there was."""
        grace = None if grace is None else min(grace, pod_spec.LONGEST_GRACE)
        metadata = host["metadata"]
        left = metadata.get("deletionGracePeriodSeconds")
        if not metadata.get("deletionTimestamp") or (grace is not None and left is not None and grace < left):
            await self._sides.host.delete(POD, host, grace=grace)

    async def _bind(self, pod: dict, node: str) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        metadata = {key: pod["metadata"][key] for key in ("name", "namespace", "uid")}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
        try:
            await self._sides.inside.api.create(self._sides.inside.path(POD, pod, "binding"), body)
        except ApiError as error:
            if error.status != 409:  # bound already
                raise

    async def _tell(self, pod: dict, host: dict) -> dict:
        """Bring the status inside up to date; the pod as it is then."""
        status = pod_status.translated(pod, host, self._sides.config.namespace)
        patch = pod_status.patch(pod, status)
        if patch is None:
            return pod
        try:
            return await self._sides.inside.merge(POD, pod, {"status": patch}, "status")
        except ApiError as error:
            if error.status == 404:
                return pod
            raise

    async def _update(self, pod: dict, host: dict) -> ApiError | None:
        """Pass on what may change on a pod that lives; what the host said if it did not take all of it."""
        try:
            await self._pass_on_changes(pod, host)
        except pod_spec.Refused as refused:
            await self._events.refuse(POD, pod, "Refused", str(refused))
        except ApiError as error:
            return error
        return None

    async def _pass_on_changes(self, pod: dict, host: dict) -> None:
        if body := changes(pod, host, self._sides.config):
            host = await self._sides.host.strategic(POD, host, body)
        if added := _ephemeral(pod, host):
            await self._copy_references(pod)
            around = self._surroundings(pod["metadata"]["namespace"])
            body = {"spec": {"ephemeralContainers": [pod_spec.container(one, pod, around) for one in added]}}
            await self._sides.host.strategic(POD, host, body, "ephemeralcontainers")
        if resized := _resized(pod, host):
            body = {"spec": {"containers": resized}}
            await self._sides.host.strategic(POD, host, body, "resize")
        if gates := pod_status.gate_conditions(pod, host):
            body = {"status": {"conditions": gates}}
            await self._sides.host.strategic(POD, host, body, "status")

    def _surroundings(self, namespace: str) -> pod_spec.Surroundings:
        inside = self._sides.inside
        spaces = {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in inside.all(NAMESPACE)}
        kinds = {"configMapRef": CONFIG_MAP, "secretRef": SECRET}

        def keys(reference: str, name: str) -> list[str]:
            return list((self._sides.copy_of(kinds[reference], namespace, name) or {}).get("data") or {})

        return pod_spec.Surroundings(self._sides.config, list(inside.all(SERVICE, namespace)), spaces, keys)


def changes(pod: dict, host: dict, config: Config) -> dict:
    """The patch that brings labels, annotations, images and the deadline of the host's pod up to date."""
    wanted = pod_spec.host_metadata(pod, config)
    body: dict = {}
    for field, ours in (("labels", names.TENANT_LABELS), ("annotations", pod_spec.downward.ANNOTATION)):
        there = host["metadata"].get(field) or {}
        patch = {key: value for key, value in wanted[field].items() if there.get(key) != value}
        # Only what is ours: the host's own programs leave theirs here too.
        patch |= {key: None for key in there if key.startswith(ours) and key not in wanted[field]}
        if patch:
            body.setdefault("metadata", {})[field] = patch
    for group in ("initContainers", "containers"):
        images = {one["name"]: one["image"] for one in host["spec"].get(group) or []}
        changed = [
            {"name": one["name"], "image": one["image"]}
            for one in pod["spec"].get(group) or []
            if images.get(one["name"], one["image"]) != one["image"]
        ]
        if changed:
            body.setdefault("spec", {})[group] = changed
    deadline = pod["spec"].get("activeDeadlineSeconds")
    if deadline and deadline != host["spec"].get("activeDeadlineSeconds"):
        body.setdefault("spec", {})["activeDeadlineSeconds"] = deadline
    return body


def _ephemeral(pod: dict, host: dict) -> list[dict]:
    """Those that were added inside."""
    there = {one["name"] for one in host["spec"].get("ephemeralContainers") or []}
    given = pod["spec"].get("ephemeralContainers") or []
    return [one for one in given if one["name"] not in there]


def _resized(pod: dict, host: dict) -> list[dict]:
    """Containers whose resources were changed inside; what the host's limit range added is left alone."""
    there = {one["name"]: one.get("resources") or {} for one in host["spec"]["containers"]}
    found = []
    for one in pod["spec"]["containers"]:
        resources = {key: (one.get("resources") or {}).get(key) or {} for key in ("requests", "limits")}
        current = there.get(one["name"], {})
        if any(
            amount != (current.get(key) or {}).get(name) for key in resources for name, amount in resources[key].items()
        ):
            found.append({"name": one["name"], "resources": {key: value for key, value in resources.items() if value}})
    return found
