# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module vcluster: all items are checked and planned before the first is written."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry as _fleet
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, check_each
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import delete as _vcluster_removal
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import drain as _vcluster_drain
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import keys as _vcluster_keys
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import upgrade as _vcluster_upgrade
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import Places, Unreachable
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.guest import (
    agents_of,
    first_contact,
    open_inside,
    ready_of_all,
    replace_agents,
    wait_for_etcd,
    wait_until_it_answers,
    wait_until_led_to,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster as _render_vcluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import exposure as _render_exposure
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    API_SERVICE,
    PLATFORM_CREDENTIAL,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.plan import (
    Job,
    make_plan,
    namespace_of,
    plan_all,
    with_addresses,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import LOAD_BALANCER
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.k3s import misplaced
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.mode import MODES
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.volume import wait_until_grown


def run(context: Context, items: list[dict]) -> list[dict]:
    context.secret(*(text for item in items for text in misplaced(item["k3s_config"])))
    jobs = check_each(items, _validated, name=_name_of)
    _fleet.require_platform(context.hub)
    fleet = _fleet.hosts(context.hub, context.cluster)
    try:
        places = Places(fleet)
        for problem in places.unreachable.values():
            context.warn(problem)
        check_each(jobs, lambda job: _place(context, places, job), name=namespace_of)
        possible = [job for job in jobs if job.problem is None]
        leaving = [job.namespace for job in possible if job.state == "absent"]
        places.check_datastores([job.spec for job in possible if job.spec])
        places.check_budgets([job.spec for job in possible if job.spec], leaving)
        plan_all(context, places, possible)
        if not context.check_mode:
            places.check_budgets([job.spec for job in possible if job.spec], leaving, reserve=True)
        return context.hub.map(lambda job: _row(context, job), jobs)
    finally:
        fleet.close()


def _name_of(item: dict) -> str:
    return one_line(f"virtual cluster {item['tenant']}/{item['name']}")


def _validated(item: dict) -> Job:
    path = item["kubeconfig_path"]
    if path and Path(path).expanduser().is_dir():
        raise TenantryError(f"kubeconfig_path: {path} is a directory; name a file in it")
    if item["state"] == "present":
        _check_what_is_known(item)
    tenant, name = _names.check_name(item["tenant"], "tenant"), _names.check_name(item["name"], "name")
    _names.vcluster_namespace(tenant, name)
    return Job(item)


def _check_what_is_known(item: dict) -> None:
    """What is wrong in every mode that it may mean. Where it gives none, only the fleet can tell which that is."""
    errors = []
    for mode in [item["mode"]] if item["mode"] else MODES:
        try:
            parse({**item, "mode": mode})
        except TenantryError as error:
            errors.append(str(error))
        else:
            return
    if len(set(errors)) == 1:
        raise TenantryError(errors[0])


def _place(context: Context, places: Places, job: Job) -> None:
    try:
        job.host = places.host_of(job.namespace, job.item["host"])
    except Unreachable as error:  # stops only what is on it
        job.problem = f"{job.namespace}: {error}"
        return
    if job.state == "present":
        places.check_tenant(context, job.tenant)
        job.spec = places.spec_of(job.item)
        if datastore := job.spec.datastore:
            context.secret(datastore.endpoint, datastore.password)


def _row(context: Context, job: Job) -> dict:
    host = job.host.name if job.host else job.item["host"]
    row = {"name": job.name, "tenant": job.tenant, "namespace": job.namespace, "host": host, "state": job.state}
    if job.problem:
        return {**row, "changed": False, "actions": [], "error": job.problem}
    actions: list[dict] = []
    try:
        deadline = context.deadline(context.module.params["wait_timeout"])
        if job.state == "present":
            row |= _bring_up(context, job, deadline)
            actions = row.pop("actions")
        elif job.state == "absent":
            actions = _remove(context, job, deadline)
        else:
            actions = _turn(context, job, deadline)
    except TenantryError as error:
        row["error"] = f"{job.namespace}: {error}"
        actions = actions or job.actions
    finally:
        if job.inside:
            job.inside.api.close()
    return {
        **row,
        "changed": bool(actions),
        "actions": actions,
        "diff": job.diffs,
        "seconds": round(time.monotonic() - job.started, 1),
    }


def _remove(context: Context, job: Job, deadline: Deadline) -> list[dict]:
    actions = job.plan.rows()
    file = Path(job.kubeconfig_path).expanduser() if job.kubeconfig_path else None
    if file and file.exists():
        actions.append({"action": "delete", "kind": "Kubeconfig", "name": job.kubeconfig_path})
    if context.check_mode:
        return actions
    if job.plan.changed:
        waiting = deadline if context.module.params["wait"] else None
        _vcluster_removal.execute(job.plan, job.host, job.namespace, waiting)
    if file:
        file.unlink(missing_ok=True)
    return actions


def _turn(context: Context, job: Job, deadline: Deadline) -> list[dict]:
    """Pause or restart it. A pause that was interrupted has nothing left to change but may have pods to wait for."""
    if job.plan.warning:
        context.warn(job.plan.warning)
    if not context.check_mode:
        job.plan.perform(deadline if context.module.params["wait"] else None)
    return job.plan.rows()


def _bring_up(context: Context, job: Job, deadline: Deadline) -> dict:
    if not context.check_mode:
        later = _apply(context, job, deadline)
        wait = context.module.params["wait"]
        early = wait and not job.rendering.keys.ca and not job.leaving and not later.changed
        if early:
            # Its host needs a moment to find out that a new one is ready, which is time enough for what is inside.
            steps = (lambda: _wait_for_server(context, job, deadline), lambda: _enter_early(context, job, deadline))
            job.host.map(lambda step: step(), steps)
        elif wait or job.leaving:
            _wait_for_server(context, job, deadline)
        if job.leaving:
            _vcluster_drain.drain(job.host, job.namespace, job.leaving, deadline, context.warn)
            context.progress(job.namespace, f"drained {', '.join(job.leaving)}")
        later.execute()
        if wait:
            for claim in job.claims:
                wait_until_grown(job.host, claim, job.spec.volume, deadline)
            if not early:
                _furnish(context, job, deadline)
            context.progress(job.namespace, f"ready, nodes {job.inside.nodes}")
    service = job.host.get("v1/Service", API_SERVICE, job.namespace)  # not there yet in the check of a new one
    url = _render_exposure.url_of(service, job.spec.exposure.type, job.rendering.address) if service else None
    if job.spec.servers > 1 and job.inside and job.plan.changed and not context.check_mode:
        _wait_until_led_to(context, job, url, deadline)
    return {
        "endpoint": url,
        "version": job.spec.version,
        "nodes": job.inside.nodes if job.inside else ready_of_all(None, agents_of(job.spec)),
        "ready": job.inside is not None,
        "slice": job.spec.slice.as_text(),
        "kubeconfig": job.kubeconfig_path,
        "actions": [*job.actions, *_kubeconfig(context, job, url)],
    }


def _wait_for_server(context: Context, job: Job, deadline: Deadline) -> None:
    if job.spec.etcd:
        wait_for_etcd(job.host, job.namespace, deadline)
        context.progress(job.namespace, "etcd ready")
    _vcluster_upgrade.wait_for_server(job.host, job.namespace, deadline)
    context.progress(job.namespace, "server ready")


def _wait_until_led_to(context: Context, job: Job, url: str, deadline: Deadline) -> None:
    if not wait_until_led_to(url, deadline):
        context.warn(f"{job.namespace}: its servers are ready, but {url} refuses who connects; look what is at it")


def _enter_early(context: Context, job: Job, deadline: Deadline) -> None:
    wait_until_it_answers(job.host, job.namespace, deadline)
    _furnish(context, job, deadline)


def _furnish(context: Context, job: Job, deadline: Deadline) -> None:
    """What it is to have inside; the API answers."""
    _know_authority(job, deadline)
    job.inside = open_inside(job.host, job.rendering)
    job.inside.execute(deadline)


def _apply(context: Context, job: Job, deadline: Deadline) -> Plan:
    """
    In two steps where the configuration must have addresses that only Services, once made, have, or new keys.

    The result shows the changes as they were planned before the first of them. What is returned is to be done when the
    server has come up.
    """
    if job.upgrade:
        job.upgrade.keep(deadline)
        context.progress(job.namespace, f"data of {job.upgrade.before} is kept on its volume")
    plan = job.plan
    if job.rendering.lacks_addresses or not job.has_keys:
        Plan.make(job.host, _render_vcluster.foundation(job.rendering)).execute()
        if job.spec.exposure.type == LOAD_BALANCER:
            _wait_for_balancer(job, deadline)
        job.rendering = with_addresses(job.rendering, job.host)
        if not job.has_keys:
            job.rendering = _vcluster_keys.claim(job.host, job.rendering)
            context.secret(*job.rendering.keys.secrets)
        plan = make_plan(job)
    first, later = _vcluster_upgrade.split(plan)
    first.execute()
    context.progress(job.namespace, "objects applied")
    return later


def _wait_for_balancer(job: Job, deadline: Deadline) -> None:
    """The certificate must have its address."""
    wait_for(
        job.host,
        "v1/Service",
        API_SERVICE,
        job.namespace,
        lambda service: bool(_render_exposure.balancer_address(service)),
        deadline,
        what=f"load balancer of virtual cluster {job.namespace}",
        explain=lambda: f"host {job.host.name} gave the Service {API_SERVICE} no address; does it have load balancers?",
    )


def _know_authority(job: Job, deadline: Deadline) -> None:
    """Keep the CA for good or, of a server without a volume, until its pod was replaced and made a new one."""
    kept = job.rendering.keys.ca
    if kept and job.spec.lasting:
        return
    ca = first_contact(job.host, job.namespace, deadline)
    if ca == kept:
        return
    job.rendering = replace(job.rendering, keys=replace(job.rendering.keys, ca=ca))
    credential = _render_vcluster.platform_credential(job.rendering)
    job.host.apply(credential)
    if kept:
        where = {"namespace": job.namespace}
        job.renewals = [{"action": "update", "kind": "Secret", "name": PLATFORM_CREDENTIAL, **where}]
        job.renewals += [
            {"action": "delete", "kind": "Pod", "name": pod, **where} for pod in replace_agents(job.host, job.rendering)
        ]


def _kubeconfig(context: Context, job: Job, url: str | None) -> list[dict]:
    """The administrator's kubeconfig, brought up to date, which it can be only where the API answers."""
    if job.kubeconfig is None:
        return []
    # One that is resumed takes the kubeconfig that there is.
    foreseen = context.check_mode and job.plan.changed and not (job.paused and job.kubeconfig.exists)
    if job.inside is None and not foreseen:
        return []
    if job.inside and job.kubeconfig.is_current(job.inside.api, url):
        return []
    if not context.check_mode:
        context.secret(job.kubeconfig.renew(job.inside.api, url))
    return [job.kubeconfig.action()]
