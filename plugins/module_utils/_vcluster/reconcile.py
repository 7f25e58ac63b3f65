# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module vcluster: all items are checked and planned before the first is written."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line, require
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, attempt, check_each, do_each
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import (
    delete,
    drain,
    growth,
    keys,
    trusted_keys,
    upgrade,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import Places
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.guest import (
    agents_of,
    open_inside,
    ready_of_all,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster, exposure
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    API_SERVICE,
    CLIENT_CA,
    PLATFORM_CREDENTIAL,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.plan import (
    Job,
    make_plan,
    namespace_of,
    plan_all,
    with_addresses,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.rollout import (
    first_contact,
    replace_agents,
    wait_for_etcd,
    wait_for_syncer,
    wait_until_it_answers,
    wait_until_led_to,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import LOAD_BALANCER
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.k3s import misplaced
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.mode import MODES
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.volume import wait_until_grown


def run(context: Context, items: list[dict]) -> list[dict]:
    context.secret(*(text for item in items for text in misplaced(item["k3s_config"])))
    jobs = check_each(items, _validated, name=_name_of)
    registry.require_platform(context.hub)
    fleet = registry.hosts(context.hub, context.cluster)
    try:
        places = Places(fleet)
        for problem in places.unreachable.values():
            context.warn(problem)
        check_each(jobs, lambda job: _place(context, places, job), name=namespace_of)
        _check_databases(places, jobs)
        _check_quotas(places, jobs)
        for job in _possible(jobs):
            _warn_below_use(context, places, job)
        plan_all(context, places, _possible(jobs))
        if not context.check_mode:
            _check_quotas(places, jobs, reserve=True)
        return do_each(context.hub, jobs, _known, lambda job: _row(context, job))
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
    tenant, name = naming.check_name(item["tenant"], "tenant"), naming.check_name(item["name"], "name")
    naming.vcluster_namespace(tenant, name)
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
    """What its host and its tenant say stops this one only; what is wrong with what is asked for, all."""
    problem, _nothing = attempt(lambda: _find(context, places, job))
    if problem:
        job.stop(problem)
        return
    if job.state == "present":
        job.spec = places.spec_of(job.item)
        if datastore := job.spec.datastore:
            context.secret(datastore.endpoint, datastore.password)


def _find(context: Context, places: Places, job: Job) -> None:
    job.host = places.host_of(job.namespace, job.item["host"])
    places.check_record(job.namespace)
    if job.state == "present":
        places.check_tenant(context, job.tenant)


def _possible(jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if job.problem is None]


def _check_databases(places: Places, jobs: list[Job]) -> None:
    problems = places.shared_datastores([job.spec for job in _possible(jobs) if job.spec])
    for job in jobs:
        if job.namespace in problems:
            job.stop(problems[job.namespace])


def _check_quotas(places: Places, jobs: list[Job], *, reserve: bool = False) -> None:
    """One that a quota has no room for stops what grows of that tenant: not what it has, and no other tenant."""
    possible = _possible(jobs)
    leaving = [job.namespace for job in possible if job.state == "absent"]
    problems = places.over_quota([job.spec for job in possible if job.spec], leaving, reserve=reserve)
    for job in possible:
        if job.spec and job.tenant in problems and places.grows(job.spec):
            job.stop(problems[job.tenant])


def _warn_below_use(context: Context, places: Places, job: Job) -> None:
    """Only a hint: where the use is not known, because a host fails just now, nothing is refused."""
    if job.spec is None:
        return
    spec = job.spec
    problem, lines = attempt(lambda: [*places.lowered_below_use([spec])])
    for line in [f"{job.namespace}: resources: its use is not known: {problem}"] if problem else lines or []:
        context.warn(line)


def _known(job: Job) -> dict:
    host = job.host.name if job.host else job.item["host"]
    return {"name": job.name, "tenant": job.tenant, "namespace": job.namespace, "host": host, "state": job.state}


def _row(context: Context, job: Job) -> dict:
    row = _known(job)
    if job.problem:
        return {**row, "changed": False, "actions": [], "error": job.problem, "refused": job.refused}
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
    plan = job.known_plan
    actions = plan.rows()
    file = Path(job.kubeconfig_path).expanduser() if job.kubeconfig_path else None
    if file and file.exists():
        actions.append({"action": "delete", "kind": "Kubeconfig", "name": job.kubeconfig_path})
    if context.check_mode:
        return actions
    if plan.changed:
        waiting = deadline if context.module.params["wait"] else None
        delete.execute(plan, job.known_host, job.namespace, waiting)
    if file:
        file.unlink(missing_ok=True)
    return actions


def _turn(context: Context, job: Job, deadline: Deadline) -> list[dict]:
    """Pause or restart it. A pause that was interrupted has nothing left to change but may have pods to wait for."""
    turn = job.known_turn
    if turn.warning:
        context.warn(turn.warning)
    if not context.check_mode:
        turn.perform(deadline if context.module.params["wait"] else None)
    return turn.rows()


def _bring_up(context: Context, job: Job, deadline: Deadline) -> dict:
    host, spec = job.known_host, job.known_spec
    if not context.check_mode:
        later = _apply(context, job, deadline)
        wait = context.module.params["wait"]
        early = wait and not job.known_rendering.keys.ca and not job.leaving and not later.changed
        if early:
            # Its host needs a moment to find out that a new one is ready, which is time enough for what is inside.
            steps = (lambda: _wait_for_server(context, job, deadline), lambda: _enter_early(context, job, deadline))
            host.map(lambda step: step(), steps)
        elif wait or job.leaving:
            _wait_for_server(context, job, deadline)
        if job.leaving:
            drain.drain(host, job.namespace, job.leaving, deadline, context.warn)
            context.progress(job.namespace, f"drained {', '.join(job.leaving)}")
        later.execute()
        if wait:
            for claim in job.claims:
                wait_until_grown(host, claim, spec.volume, deadline)
            if not early:
                _furnish(context, job, deadline)
            context.progress(job.namespace, f"ready, nodes {job.known_inside.nodes}")
    service = host.get("v1/Service", API_SERVICE, job.namespace)  # not there yet in the check of a new one
    url = exposure.url_of(service, spec.exposure.type, job.known_rendering.address) if service else None
    if url and spec.servers > 1 and job.inside and job.known_plan.changed and not context.check_mode:
        _wait_until_led_to(context, job, url, deadline)
    return {
        "endpoint": url,
        "version": spec.version,
        "nodes": job.inside.nodes if job.inside else ready_of_all(None, agents_of(spec)),
        "ready": job.inside is not None,
        "resources": spec.resources.as_text(),
        "kubeconfig": job.kubeconfig_path,
        "actions": [*job.actions, *_kubeconfig(context, job, url)],
    }


def _wait_for_server(context: Context, job: Job, deadline: Deadline) -> None:
    host, spec = job.known_host, job.known_spec
    if spec.etcd:
        wait_for_etcd(host, job.namespace, deadline)
        context.progress(job.namespace, "etcd ready")
    upgrade.wait_for_server(host, job.namespace, deadline)
    context.progress(job.namespace, "server ready")
    if spec.shared:
        wait_for_syncer(host, job.namespace, deadline)
        context.progress(job.namespace, "syncer ready")


def _wait_until_led_to(context: Context, job: Job, url: str, deadline: Deadline) -> None:
    if not wait_until_led_to(url, deadline):
        context.warn(
            f"{job.namespace}: the servers are ready, but {url} refuses connections; check the Service, load balancer "
            "or firewall behind that address"
        )


def _enter_early(context: Context, job: Job, deadline: Deadline) -> None:
    wait_until_it_answers(job.known_host, job.namespace, deadline)
    _furnish(context, job, deadline)


def _furnish(context: Context, job: Job, deadline: Deadline) -> None:
    """What it is to have inside; the API answers."""
    _know_authority(job, deadline)
    job.inside = inside = open_inside(job.known_host, job.known_rendering)
    inside.execute(deadline)
    client_ca = job.known_plan.object("v1/Secret", CLIENT_CA, job.namespace)
    if job.known_spec.lasting and not trusted_keys.noted(client_ca):
        attempt(lambda: trusted_keys.keep(job.known_host, inside.api, job.namespace))  # or the next run does


def _apply(context: Context, job: Job, deadline: Deadline) -> Plan:
    """
    In two steps where the configuration must have addresses that only Services, once made, have, or new keys.

    The result shows the changes as they were planned before the first of them. What is returned is to be done when the
    server has come up.
    """
    if job.upgrade:
        job.upgrade.keep(deadline)
        context.progress(job.namespace, f"data of {job.upgrade.before} is kept on its volume")
    growth.claim(context, job)
    host, plan = job.known_host, job.known_plan
    if job.known_rendering.lacks_addresses or not job.has_keys:
        Plan.make(host, cluster.foundation(job.known_rendering)).execute()
        if job.known_spec.exposure.type == LOAD_BALANCER:
            _wait_for_balancer(job, deadline)
        job.rendering = with_addresses(job.known_rendering, host)
        if not job.has_keys:
            job.rendering = keys.claim(host, job.rendering)
            context.secret(*job.rendering.keys.secrets)
        plan = make_plan(job)
    first, later = upgrade.split(plan)
    first.execute()
    context.progress(job.namespace, "objects applied")
    return later


def _wait_for_balancer(job: Job, deadline: Deadline) -> None:
    """The certificate must have its address."""
    host = job.known_host
    wait_for(
        host,
        "v1/Service",
        API_SERVICE,
        job.namespace,
        lambda service: bool(exposure.balancer_address(service)),
        deadline,
        what=f"load balancer of virtual cluster {job.namespace}",
        explain=lambda: f"host {host.name} gave the Service {API_SERVICE} no address; does it have load balancers?",
    )


def _know_authority(job: Job, deadline: Deadline) -> None:
    """Keep the CA for good or, of a server without a volume, until its pod was replaced and made a new one."""
    host, rendering = job.known_host, job.known_rendering
    kept = rendering.keys.ca
    if kept and job.known_spec.lasting:
        return
    ca = first_contact(host, job.namespace, deadline)
    if ca == kept:
        return
    job.rendering = rendering = replace(rendering, keys=replace(rendering.keys, ca=ca))
    credential = cluster.platform_credential(rendering)
    host.apply(credential)
    if kept:
        where = {"namespace": job.namespace}
        job.renewals = [{"action": "update", "kind": "Secret", "name": PLATFORM_CREDENTIAL, **where}]
        job.renewals += [
            {"action": "delete", "kind": "Pod", "name": pod, **where} for pod in replace_agents(host, rendering)
        ]


def _kubeconfig(context: Context, job: Job, url: str | None) -> list[dict]:
    """The administrator's kubeconfig, brought up to date, which it can be only where the API answers."""
    if job.kubeconfig is None:
        return []
    # One that is resumed takes the kubeconfig that there is.
    foreseen = context.check_mode and job.known_plan.changed and not (job.paused and job.kubeconfig.exists)
    if job.inside is None and not foreseen:
        return []
    if job.inside and job.kubeconfig.is_current(job.inside.api, url):
        return []
    if not context.check_mode:
        context.secret(job.kubeconfig.renew(job.known_inside.api, require(url, "the endpoint")))
    return [job.kubeconfig.action()]
