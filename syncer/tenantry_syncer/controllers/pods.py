"""Pods: created on the host; their status there is copied to the virtual cluster."""

from __future__ import annotations

from tenantry_syncer import naming
from tenantry_syncer.controllers import config_maps_and_secrets
from tenantry_syncer.controllers.config_maps_and_secrets import References
from tenantry_syncer.controllers.events import REJECTED_RETRY_SECONDS, Events
from tenantry_syncer.controllers.nodes import Nodes
from tenantry_syncer.controllers.persistent_volume_claims import ephemeral_claim_problem
from tenantry_syncer.controllers.service_account_tokens import Tokens
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.informer import Key
from tenantry_syncer.kube.resources import NAMESPACE, POD
from tenantry_syncer.kube.work_queue import RequeueAfter
from tenantry_syncer.sync_context import STALE_RETRY_SECONDS, SyncContext, fits_host
from tenantry_syncer.translate import pod as pod_spec
from tenantry_syncer.translate import pod_changes, pod_status, pod_volumes, service_variables
from tenantry_syncer.translate.rejection import RejectedSpec

# Grace period in seconds of a host pod that was force-deleted in the virtual cluster or is orphaned.
_FORCED = 1


class Pods:
    """Creates, changes and deletes pods on the host, and copies their status back."""

    def __init__(
        self, context: SyncContext, events: Events, nodes: Nodes, references: References, tokens: Tokens
    ) -> None:
        self._context = context
        self._events = events
        self._nodes = nodes
        self._references = references
        self._tokens = tokens
        # The last status of pods that were deleted on the host, until it is copied.
        self._last: dict[Key, dict] = {}

    def host_pod_deleted(self, host: dict) -> None:
        """Remember the last status of a host pod, for the pod in the virtual cluster."""
        if key := naming.virtual_key(host):
            self._last[key] = {"metadata": host["metadata"], "spec": {}, "status": host.get("status") or {}}

    async def reconcile(self, namespace: str, name: str) -> None:
        """Create, change or delete the host pods of a pod, and copy the status back."""
        pod = self._context.virtual.get(POD, namespace, name)
        host_pods = self._context.host_pods_for(namespace, name)
        host = next((one for one in host_pods if self._context.is_host_object_of(one, pod)), None)
        for one in host_pods:
            if one is not host:
                # Force-deleted in the virtual cluster, which frees the name at once. The quota counts its resources
                # until it has ended on the host.
                await self._remove(one, _FORCED)
        if pod and not host:
            # manager.py reports a pod that is too large once its predecessors are gone.
            if not host_pods or pod["metadata"].get("deletionTimestamp") or fits_host(pod):
                await self._sync_missing(pod)
            return
        self._last.pop((namespace, name), None)
        if pod and host:
            await self._sync_existing(pod, host)

    async def _sync_missing(self, pod: dict) -> None:
        metadata = pod["metadata"]
        key = (metadata["namespace"], metadata["name"])
        last = self._last.get(key)
        if last and self._context.is_host_object_of(last, pod):
            pod = await self._sync_status(pod, last)
        if metadata.get("deletionTimestamp"):
            await self._context.virtual.delete(POD, pod, grace=0)
        elif pod_status.is_finished(pod) or pod["spec"].get("schedulingGates"):
            pass
        elif (pod.get("status") or {}).get("startTime"):
            # It ran and is gone from the host: evicted, or removed with its node. Its controller replaces it.
            await self._context.virtual.delete(POD, pod, grace=0)
        else:
            await self._create(pod)
        self._last.pop(key, None)

    async def _create(self, pod: dict) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        try:
            if not self._references.index.has(POD, (namespace, name)):
                await self._reject_excess_references(pod)
            await self._wait_for_ephemeral_claims(pod)
            await self._sync_references(pod)
            host_name = self._context.host_pod_name_for(pod)
            await self._tokens.reconcile(namespace, name, host_name)
            desired = pod_spec.host_pod(pod, self._pod_context(pod), host_name)
            created = await self._context.host.create(POD, desired)
        except RejectedSpec as rejected:
            await self._events.reject(POD, pod, "Refused", str(rejected))
        except ApiError as error:
            if error.reason == "AlreadyExists":
                raise RequeueAfter from None  # the watch has not caught up
            await self._events.host_rejected(POD, pod, self._context.host_object(POD, pod), error)
        else:
            await self._report_left_out(pod, desired, created)
            await self._report_left_out_variables(pod)

    async def _wait_for_ephemeral_claims(self, pod: dict) -> None:
        """Raise RequeueAfter while the claims of the pod's ephemeral volumes are not its own."""
        for volume in pod["spec"].get("volumes") or []:
            claim = pod_volumes.ephemeral_claim(pod, volume["name"])
            problem = ephemeral_claim_problem(self._context, pod, claim) if "ephemeral" in volume else None
            if problem:
                await self._events.reject(POD, pod, "Refused", f"volume {volume['name']}: {problem}")
            if problem is not None:
                raise RequeueAfter(REJECTED_RETRY_SECONDS if problem else STALE_RETRY_SECONDS)

    async def _report_left_out(self, pod: dict, desired: dict, created: dict) -> None:
        """Record an event about each field that the syncer does not pass on or an older host drops."""
        if fields := pod_spec.left_out(pod):
            message = f"{', '.join(fields)}: not supported by the platform and ignored."
            await self._events.reject(POD, pod, "NotPassedOn", message)
        for field, value in pod_spec.dropped(desired["spec"], created["spec"]):
            known = pod_spec.NEEDS.get(field)
            message = (
                f"{field}: requires {f'Kubernetes {known}' if known else 'a later Kubernetes'} on the host and is "
            )
            message += f"ignored. Its value would be {value}." if known else "ignored."
            await self._events.reject(POD, pod, "NotPassedOn", message)

    async def _sync_references(self, pod: dict) -> None:
        """Sync what the pod references before the pod itself, which needs it to start."""
        for reference in config_maps_and_secrets.of_pod(pod):
            await self._references.reconcile(*reference)

    async def _reject_excess_references(self, pod: dict) -> None:
        """Add the pod to the index; report it and raise RequeueAfter if its references exceed the limits."""
        used = config_maps_and_secrets.of_pod(pod)
        self._references.index.update(POD, (pod["metadata"]["namespace"], pod["metadata"]["name"]), used)
        if self._references.index.has(POD, (pod["metadata"]["namespace"], pod["metadata"]["name"])):
            return
        own = (
            f"The pod references {len(used) - 1} config maps and Secrets; the limit is "
            f"{config_maps_and_secrets.MAX_PER_OBJECT - 1}. Combine some of them."
        )
        all_pods = (
            f"All pods together reference more than {config_maps_and_secrets.MAX_TOTAL} config maps and Secrets. "
            "Delete pods, or combine config maps and Secrets."
        )
        await self._events.reject(
            POD, pod, "Refused", own if len(used) > config_maps_and_secrets.MAX_PER_OBJECT else all_pods
        )
        raise RequeueAfter(REJECTED_RETRY_SECONDS)

    async def _report_left_out_variables(self, pod: dict) -> None:
        if count := self._references.links.left_out(pod):
            reason = f"together they would exceed {service_variables.LARGEST // 1024} KiB"
            message = f"Environment variables of the {count} newest services are omitted: {reason}. Use DNS instead."
            await self._events.reject(POD, pod, "ServiceVariablesLeftOut", message)

    async def _sync_existing(self, pod: dict, host: dict) -> None:
        metadata = pod["metadata"]
        changes = False
        if metadata.get("deletionTimestamp"):
            await self._remove(host, metadata.get("deletionGracePeriodSeconds"))
        elif host["metadata"].get("deletionTimestamp") and not pod_status.is_finished(pod):
            grace = host["metadata"].get("deletionGracePeriodSeconds")
            await self._context.virtual.delete(POD, pod, grace=grace)
        else:
            changes = True
        if host["spec"].get("nodeName"):
            await self._nodes.ensure(host["spec"]["nodeName"])
            if not pod["spec"].get("nodeName"):
                await self._bind(pod, host["spec"]["nodeName"])
        await self._sync_status(pod, host)
        if changes:
            await self._sync_changes(pod, host)

    async def _remove(self, host: dict, grace: int | None) -> None:
        """Delete the host pod with the tenant's grace period in seconds, within the platform's limit; never extend it.

        At least one second: with 0, the host would drop the pod and its quota while its processes still run.
        """
        grace = None if grace is None else max(_FORCED, min(grace, pod_spec.LONGEST_GRACE))
        metadata = host["metadata"]
        left = metadata.get("deletionGracePeriodSeconds")
        if not metadata.get("deletionTimestamp") or (grace is not None and left is not None and grace < left):
            await self._context.host.delete(POD, host, grace=grace)

    async def _bind(self, pod: dict, node: str) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        metadata = {key: pod["metadata"][key] for key in ("name", "namespace", "uid")}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
        try:
            await self._context.virtual.api.create(self._context.virtual.path(POD, pod, "binding"), body)
        except ApiError as error:
            if error.status != 409:  # already bound
                raise

    async def _sync_status(self, pod: dict, host: dict) -> dict:
        """Update the status of the virtual pod and return the pod."""
        status = pod_status.translated(pod, host, lambda text: self._context.to_virtual_message(text, host, pod))
        patch = pod_status.patch(pod, status)
        if patch is None:
            return pod
        try:
            return await self._context.virtual.strategic(POD, pod, {"status": patch}, "status")
        except ApiError as error:
            if error.status == 404:
                return pod
            raise

    async def _sync_changes(self, pod: dict, host: dict) -> None:
        """Apply each change separately. Report rejected ones and raise RequeueAfter once the others are applied."""
        patches = [*pod_changes.patches(pod, host, self._context.config), *(await self._ephemeral(pod, host))]
        rejected, failed = False, None
        for body, *subresource in patches:
            try:
                await self._context.host.strategic(POD, host, body, *subresource)
            except ApiError as error:
                if await self._events.report_rejection(POD, pod, host, error):
                    rejected = True
                else:
                    failed = error
        if failed:
            raise failed
        if rejected:
            raise RequeueAfter(REJECTED_RETRY_SECONDS)

    async def _ephemeral(self, pod: dict, host: dict) -> list[tuple]:
        """Return the patches for new ephemeral containers; report those that are rejected."""
        found: list[tuple] = []
        added = pod_changes.ephemeral(pod, host)
        if added:
            await self._sync_references(pod)
        for one in added:
            try:
                translated = pod_spec.container(one, pod, self._pod_context(pod))
            except RejectedSpec as rejected:
                await self._events.reject(POD, pod, "Refused", str(rejected))
            else:
                found.append(({"spec": {"ephemeralContainers": [translated]}}, "ephemeralcontainers"))
        return found

    def _pod_context(self, pod: dict) -> pod_spec.PodContext:
        """Return only the context that this pod depends on: there may be many namespaces and services."""
        given = self._context.virtual.all(NAMESPACE) if pod["spec"].get("affinity") else ()
        namespaces = {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in given}
        variables = self._references.links.variables(pod) if service_variables.uses_variables(pod) else {}
        return pod_spec.PodContext(self._context.config, namespaces, variables)
