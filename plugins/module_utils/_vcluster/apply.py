# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The operation for state present: apply in two phases, wait, apply objects in the virtual cluster, report."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import require
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import SECRET, SERVICE
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, attempt
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import (
    drain,
    keys,
    quota_handover,
    trusted_keys,
    upgrade,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.guest import (
    GuestCluster,
    agents_of,
    connect_guest,
    ready_of_all,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster, exposure
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    API_SERVICE,
    CLIENT_CA,
    PLATFORM_CREDENTIAL,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.plan import (
    PresentPlan,
    changes_of,
    with_addresses,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.request import (
    OperationResult,
    VClusterOperation,
    completed,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.rollout import (
    read_ca_on_first_use,
    replace_agents,
    wait_for_etcd,
    wait_for_syncer,
    wait_until_api_ready,
    wait_until_endpoint_accepts,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import LOAD_BALANCER
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.volume import wait_until_grown


@dataclass(frozen=True)
class PresentOperation(VClusterOperation):
    """Create, update or resume a virtual cluster."""

    plan: PresentPlan

    def execute(self, context: Context, deadline: Deadline, *, wait: bool) -> OperationResult:
        """Apply the plan and wait. Return what was done, with the error if there was one."""
        application = _Application(context, self.plan, deadline, wait=wait)
        try:
            return completed(application.run, application.result)
        finally:
            application.close()


class _Application:
    """One execution of a plan, with what becomes known meanwhile: addresses, keys, CA, the virtual API."""

    def __init__(self, context: Context, plan: PresentPlan, deadline: Deadline, *, wait: bool) -> None:
        self.context, self.plan, self.deadline, self.wait = context, plan, deadline, wait
        self.host, self.spec, self.namespace = plan.host, plan.spec, plan.namespace
        self.rendering = plan.rendering
        self.guest: GuestCluster | None = plan.guest
        self.renewals: list[dict] = []

    def run(self) -> OperationResult:
        if not self.context.check_mode:
            self._ensure_running()
        service = self.host.get(SERVICE, API_SERVICE, self.namespace)  # not there yet in the check of a new one
        url = exposure.url_of(service, self.spec.exposure.type, self.rendering.address) if service else None
        changed = self.plan.changes.changed and not self.context.check_mode
        if url and self.spec.servers > 1 and self.guest and changed:
            self._wait_for_endpoint(url)
        facts = {
            "endpoint": url,
            "version": self.spec.version,
            "nodes": self.guest.nodes if self.guest else ready_of_all(None, agents_of(self.spec)),
            "ready": self.guest is not None,
            "resources": self.spec.resources.as_text(),
            "kubeconfig": self.plan.placed.desired.kubeconfig_path,
        }
        kubeconfig = self._kubeconfig(url)
        done = self.result()
        return replace(done, actions=[*done.actions, *kubeconfig], facts=facts)

    def result(self) -> OperationResult:
        """Return the result so far, with the changes as planned."""
        plan, guest = self.plan, self.guest
        actions = [
            *(plan.rights.rows() if plan.rights else []),
            *([plan.upgrade.row()] if plan.upgrade else []),
            *plan.changes.rows(),
            *drain.rows(plan.leaving),
            *self.renewals,
            *(guest.rows() if guest else []),
        ]
        plans = [plan.rights, plan.changes, guest.plan if guest else None]
        return OperationResult(actions, [one.diff() for one in plans if one])

    def close(self) -> None:
        if self.guest:
            self.guest.api.close()

    def _ensure_running(self) -> None:
        later = self._apply()
        wait, leaving = self.wait, self.plan.leaving
        early = wait and not self.rendering.keys.ca and not leaving and not later.changed
        if early:
            # The host needs a moment to notice that a new server is ready; meanwhile the guest objects are applied.
            self.host.map(lambda step: step(), (self._wait_for_server, self._enter_before_ready))
        elif wait or leaving:
            self._wait_for_server()
        if leaving:
            drain.drain(self.host, self.namespace, leaving, self.deadline, self.context.warn)
            self._report(f"drained {', '.join(leaving)}")
        later.execute()
        if wait:
            for claim in self.plan.claims:
                wait_until_grown(self.host, claim, self.spec.volume, self.deadline)
            if not early:
                self._apply_guest_objects()
            self._report(f"ready, nodes {require(self.guest, f'the connection to {self.namespace}').nodes}")

    # The two phases ---------------------------------------------------------------------------------------------------

    def _apply(self) -> Plan:
        """Apply in two phases if the configuration needs new keys, or addresses of Services to be created.

        Return the plan to execute when the servers are ready.
        """
        plan = self.plan
        if plan.upgrade:
            plan.upgrade.keep(self.deadline)
            self._report(f"data of {plan.upgrade.before} is kept on its volume")
        quota_handover.claim(self.context, plan)
        changes = plan.changes
        if self.rendering.lacks_addresses or not plan.has_keys:
            self._apply_foundation()
            changes = changes_of(self.host, self.rendering, plan.placed.record)
        first, later = upgrade.split(changes)
        first.execute()
        self._report("objects applied")
        return later

    def _apply_foundation(self) -> None:
        Plan.make(self.host, cluster.foundation(self.rendering)).execute()
        if self.spec.exposure.type == LOAD_BALANCER:
            self._wait_for_balancer()
        self.rendering = with_addresses(self.rendering, self.host)
        if not self.plan.has_keys:
            self.rendering = keys.claim(self.host, self.rendering)
            self.context.secret(*self.rendering.keys.secrets)

    # Waits ------------------------------------------------------------------------------------------------------------

    def _wait_for_balancer(self) -> None:
        """Wait for the load balancer's address, which the certificate must contain."""
        host = self.host
        wait_for(
            host,
            SERVICE,
            API_SERVICE,
            self.namespace,
            lambda service: bool(exposure.balancer_address(service)),
            self.deadline,
            what=f"load balancer of virtual cluster {self.namespace}",
            explain=lambda: f"host {host.name} gave the Service {API_SERVICE} no address; does it have load balancers?",
        )

    def _wait_for_server(self) -> None:
        if self.spec.etcd:
            wait_for_etcd(self.host, self.namespace, self.deadline)
            self._report("etcd ready")
        upgrade.wait_for_server(self.host, self.namespace, self.deadline)
        self._report("server ready")
        if self.spec.shared:
            wait_for_syncer(self.host, self.namespace, self.deadline)
            self._report("syncer ready")

    def _wait_for_endpoint(self, url: str) -> None:
        if not wait_until_endpoint_accepts(url, self.deadline):
            self.context.warn(
                f"{self.namespace}: the servers are ready, but {url} refuses connections. Check the Service, load "
                "balancer or firewall behind that address"
            )

    # In the virtual cluster -------------------------------------------------------------------------------------------

    def _enter_before_ready(self) -> None:
        wait_until_api_ready(self.host, self.namespace, self.deadline)
        self._apply_guest_objects()

    def _apply_guest_objects(self) -> None:
        """Apply the objects in the virtual cluster, whose API must answer."""
        self._pin_ca()
        self.guest = guest = connect_guest(self.host, self.rendering)
        guest.execute(self.deadline)
        client_ca = self.plan.changes.object(SECRET, CLIENT_CA, self.namespace)
        if self.spec.lasting and not trusted_keys.noted(client_ca):
            attempt(lambda: trusted_keys.keep(self.host, guest.api, self.namespace))  # or the next run does

    def _pin_ca(self) -> None:
        """Store the CA. A server without a volume creates another one when its pod is replaced."""
        kept = self.rendering.keys.ca
        if kept and self.spec.lasting:
            return
        ca = read_ca_on_first_use(self.host, self.namespace, self.deadline)
        if ca == kept:
            return
        self.rendering = replace(self.rendering, keys=replace(self.rendering.keys, ca=ca))
        self.host.apply(cluster.platform_credential(self.rendering))
        if kept:
            where = {"namespace": self.namespace}
            self.renewals = [{"action": "update", "kind": "Secret", "name": PLATFORM_CREDENTIAL, **where}]
            self.renewals += [
                {"action": "delete", "kind": "Pod", "name": pod, **where}
                for pod in replace_agents(self.host, self.rendering)
            ]

    def _kubeconfig(self, url: str | None) -> list[dict]:
        """Renew the administrator's kubeconfig, for which the API must answer."""
        kubeconfig, guest = self.plan.kubeconfig, self.guest
        if kubeconfig is None:
            return []
        # After a resume, an existing kubeconfig is usually kept.
        resumed = self.plan.paused and kubeconfig.exists
        foreseen = self.context.check_mode and self.plan.changes.changed and not resumed
        if guest is None and not foreseen:
            return []
        if guest and kubeconfig.is_current(guest.api, url):
            return []
        if not self.context.check_mode:
            api = require(guest, f"the connection to {self.namespace}").api
            self.context.secret(kubeconfig.renew(api, require(url, "the endpoint")))
        return [kubeconfig.action()]

    def _report(self, phase: str) -> None:
        self.context.progress(self.namespace, phase)
