# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which notices are due, by the rows of the modules that gather the state of the fleet. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._notices.model import (
    CERTIFICATE,
    CREDENTIAL,
    IDLE,
    MEMBER,
    QUOTA,
    REQUEST,
    SLEEP,
    SNAPSHOT,
    TTL,
    Notice,
)
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.requests import DENIED
from ansible_collections.tenantry.kube.plugins.module_utils._usage.advice import CRITICAL, NOTE, WARNING
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import Sample, VClusterSample
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.lifecycle import parse_sleep

# Percent of a quota, the higher first.
QUOTA_STEPS = (100, 80)
# Notices that need an answer of all members: of what is on a silent one, nothing is known.
OF_MEMBERS = frozenset({TTL, SLEEP, IDLE, CREDENTIAL, CERTIFICATE, SNAPSHOT})
# Notices about requests of one tenant in a run. One more sums up the others.
MOST_REQUESTS = 20
_READY = "Ready"


@dataclass(frozen=True)
class Thresholds:
    """How long before, or after how long, notices are due."""

    ttl: timedelta
    sleep: timedelta
    idle: timedelta
    credential: timedelta
    certificate: timedelta
    snapshot: timedelta


@dataclass(frozen=True)
class Facts:
    """What is known now. `unknown` has the kinds of notices about which not everything is known."""

    sample: Sample
    tenants: Sequence[Mapping[str, Any]]  # rows of tenant_usage_info
    users: Sequence[Mapping[str, Any]] = ()  # rows of tenant_user_info
    requests: Sequence[Mapping[str, Any]] = ()  # objects
    unknown: frozenset[str] = frozenset()


def notices(facts: Facts, thresholds: Thresholds) -> list[Notice]:
    """Return the notices that are due now, whether or not they were sent before."""
    now = facts.sample.time
    found = [*_of_members(facts.sample, thresholds), *_of_tenants(facts.tenants)]
    for one in facts.sample.vclusters:
        found += _of_vcluster(one, now, thresholds)
    found += _of_users(facts.users, now, thresholds.credential)
    found += _of_requests(facts.requests)
    return found


def _of_members(sample: Sample, thresholds: Thresholds) -> Iterator[Notice]:
    for name, reason in sample.missing.items():
        remedy = "Repair it or its connection. Its virtual clusters cannot be managed until then"
        yield Notice(CRITICAL, "", name, f"does not answer: {_short(reason)}", remedy, (f"{MEMBER} {name}",))
    for one in sample.clusters:
        ends = one.credential_expires
        if ends and ends - sample.time <= thresholds.credential:
            text = f"has a credential of the platform that expires at {stamp(ends)}"
            remedy = "Run the playbook join for it"
            yield Notice(WARNING, "", one.name, text, remedy, (f"{CREDENTIAL} {one.name}",), ends)


def _of_tenants(tenants: Iterable[Mapping[str, Any]]) -> Iterator[Notice]:
    for one in tenants:
        name = one["name"]
        for resource, text in one["quota"].items():
            quota = quantities.parse(text, resource)
            counted = quantities.parse(one["counted"].get(resource, "0"), resource)
            reached = [step for step in QUOTA_STEPS if quota and counted * 100 >= step * quota]
            if not reached:
                continue
            percent = int(counted * 100 / quota)
            said = f"has allocated {percent} % of its quota of {resource} ({one['counted'][resource]} of {text})"
            full = "New virtual clusters are rejected. Raise the quota, or delete or reduce virtual clusters"
            remedy = full if reached[0] == QUOTA_STEPS[0] else "Raise the quota if more is planned"
            keys = tuple(f"{QUOTA} {name} {resource} {step}" for step in reached)
            yield Notice(WARNING if reached[0] == QUOTA_STEPS[0] else NOTE, name, name, said, remedy, keys)


def _of_vcluster(one: VClusterSample, now: datetime, thresholds: Thresholds) -> Iterator[Notice]:
    about = f"{one.tenant}/{one.name}"

    def notice(level: str, text: str, remedy: str, key: str, due: datetime | None = None) -> Notice:
        return Notice(level, one.tenant, about, text, remedy, (key,), due)

    if one.status == "Deleting":
        return
    if one.expires and not one.deletion_protection and one.expires - now <= thresholds.ttl:
        text = f"expires at {stamp(one.expires)} and is deleted then, with all its data"
        remedy = "Raise its ttl if it is still needed"
        yield notice(WARNING, text, remedy, f"{TTL} {about} {stamp(one.expires)}", one.expires)
    if sleeps := _sleeps(one, now, thresholds.sleep):
        when, why = sleeps
        remedy = "Change its sleep if it is needed then, or resume it afterwards"
        yield notice(NOTE, f"is paused at {stamp(when)}: {why}", remedy, f"{SLEEP} {about} {stamp(when)}", when)
    if one.status == _READY and one.idle_since and now - one.idle_since >= thresholds.idle:
        remedy = "Set sleep or ttl, or delete it"
        yield notice(
            NOTE, f"is unused since {stamp(one.idle_since)}", remedy, f"{IDLE} {about} {stamp(one.idle_since)}"
        )
    valid = one.certificates_valid_until
    if valid and valid - now <= thresholds.certificate:
        text = f"has certificates that are valid until {stamp(valid)} at least"
        remedy = "Run the playbook housekeeping, which restarts it if it has a volume"
        yield notice(WARNING, text, remedy, f"{CERTIFICATE} {about}", valid)
    since = one.snapshot or one.created
    if one.tier == "prod" and not one.external_datastore and now - since >= thresholds.snapshot:
        text = f"has no snapshot since {stamp(since)}" if one.snapshot else "has no snapshot on record"
        yield notice(WARNING, text, "Run the playbook backup, and schedule it", f"{SNAPSHOT} {about} {stamp(since)}")


def _sleeps(one: VClusterSample, now: datetime, lead: timedelta) -> tuple[datetime, str] | None:
    """Return when the playbook housekeeping pauses it next and why, if that is soon."""
    if one.status == "Paused" or not one.sleep:
        return None
    try:
        sleep = parse_sleep(dict(one.sleep))
    except TenantryError:  # a record of another release
        return None
    if begins := sleep.next_begin(now, lead):
        return begins, "its time to sleep begins"
    if sleep.idle and one.idle_since:
        idle = timedelta(seconds=sleep.idle)
        pause = one.idle_since + idle
        # One that sleeps after ten minutes is not announced from the first minute on.
        if pause - now <= min(lead, idle / 2):
            return pause, f"it is unused since {stamp(one.idle_since)}"
    return None


def _of_users(users: Iterable[Mapping[str, Any]], now: datetime, lead: timedelta) -> Iterator[Notice]:
    for user in users:
        for kubeconfig, credentials in _by_kubeconfig(user["credentials"]).items():
            ends, lifetime = min(credentials, key=lambda one: one[0])
            # Of a credential for a day, the last two weeks would be all of it.
            if not timedelta(0) < ends - now <= min(lead, lifetime / 3):
                continue
            about = f"{user['tenant']}/{user['name']}"
            text = f"has a kubeconfig {kubeconfig} that expires at {stamp(ends)}"
            remedy = "Run the playbook onboard, or tenant_user, which renews it"
            keys = (f"{CREDENTIAL} {about} {kubeconfig}",)
            yield Notice(NOTE, user["tenant"], about, text, remedy, keys, ends)


def _by_kubeconfig(credentials: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[datetime, timedelta]]]:
    """Return the end and the lifetime of the newest credential for each cluster, by kubeconfig."""
    newest: dict[str, dict[tuple[str, str], tuple[datetime, timedelta]]] = defaultdict(dict)
    for one in credentials:
        try:
            ends = moment(one["expires"])
            lifetime = ends - moment(one["issued"])
        except (TypeError, ValueError):  # an earlier release recorded less
            continue
        where, of_config = (one["host"], one["vcluster"]), newest[one["kubeconfig"]]
        of_config[where] = max(of_config.get(where, (ends, lifetime)), (ends, lifetime))
    return {kubeconfig: list(found.values()) for kubeconfig, found in newest.items() if found}


def _of_requests(requests: Iterable[Mapping[str, Any]]) -> Iterator[Notice]:
    """Return a notice for each denied request, up to a number: a tenant can make and change as many as it likes."""
    denied: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in sorted(requests, key=lambda one: one["metadata"].get("creationTimestamp") or ""):
        tenant = naming.tenant_of(one["metadata"].get("namespace") or "")
        if tenant is not None and (one.get("status") or {}).get("phase") == DENIED:
            denied[tenant].append(one)
    for tenant, found in denied.items():
        yield from (_of_request(tenant, one) for one in found[:MOST_REQUESTS])
        if more := found[MOST_REQUESTS:]:
            text = f"has more denied requests: {len(more)}"
            yield Notice(NOTE, tenant, tenant, text, "Change or delete requests", (f"{REQUEST} {tenant}",))


def _of_request(tenant: str, one: Mapping[str, Any]) -> Notice:
    meta = one["metadata"]
    what = "virtual cluster" if one["kind"].startswith("VirtualCluster") else "user"
    about = f"{tenant}/{meta['name']}"
    text = f"was requested as a {what} and denied: {_short(one['status'].get('message') or 'no reason is known')}"
    key = f"{REQUEST} {one['kind']} {about} {meta['uid']}"
    return Notice(NOTE, tenant, about, text, "Change or delete the request", (key,))


def _short(text: object) -> str:
    """Return a text that others chose, as a part of a sentence."""
    clean = one_line(text).rstrip(".")
    return clean if len(clean) <= 300 else f"{clean[:299]}…"
