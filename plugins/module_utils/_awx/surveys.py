# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Surveys: the questions of job templates, by the variables that the playbooks read. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._awx.options import Options, Tenant
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import MAX_LABEL

Question = dict[str, Any]
Survey = dict[str, Any]

# Playbooks that an administrator launches or a schedule does, and those whose jobs need the snapshots' credentials.
ADMIN_PLAYBOOKS = {
    "audit": "Report audit events",
    "backup": "Take snapshots of virtual clusters",
    "create_vcluster": "Create or change a virtual cluster",
    "delete_vcluster": "Delete a virtual cluster with all its data",
    "housekeeping": "Delete expired virtual clusters, pause unused ones, renew certificates",
    "offboard": "Remove a tenant with all its data",
    "onboard": "Create or update the tenants of the inventory",
    "pause_vcluster": "Pause or resume a virtual cluster",
    "report": "Report quotas and usage",
    "restore": "Restore a virtual cluster from a snapshot",
    "restore_drill": "Verify that a virtual cluster can be restored",
    "self_service": "Process requests of tenants",
    "upgrade": "Upgrade virtual clusters of the inventory",
}
SNAPSHOT_PLAYBOOKS = frozenset({"backup", "restore", "restore_drill"})

TENANT, VCLUSTER, CONFIRM = "tenantry_tenant", "tenantry_vcluster", "tenantry_confirm"
_STATE = "tenantry_state", "State", ("paused", "resumed")
_NEW_OPTIONS = {
    "tenantry_cpu": "CPU, such as 2 or 500m",
    "tenantry_memory": "Memory, such as 4Gi",
    "tenantry_storage": "Storage, such as 20Gi",
    "tenantry_pods": "Number of pods",
    "tenantry_host": "Cluster of the fleet",
    "tenantry_mode": "Mode: shared or dedicated",
    "tenantry_tier": "Tier: dev or prod",
    "tenantry_version": "Version of k3s",
    "tenantry_servers": "Number of servers: 1 or 3",
    "tenantry_agents": "Number of agents",
    "tenantry_ttl": "Time to live, such as 7d",
    "tenantry_sleep": "Times to sleep, such as mon-fri 20:00-06:00",
}


def text(variable: str, question: str, *, required: bool = False, longest: int = 1024) -> Question:
    """Return a question for a line of text. A blank answer is as if it were not given, unless it is required."""
    return {
        "type": "text",
        "variable": variable,
        "question_name": question,
        "question_description": "",
        "required": required,
        "min": 1 if required else 0,
        "max": longest,
        "default": "",
    }


def choice(variable: str, question: str, choices: Sequence[str]) -> Question:
    """Return a required question with the first choice as default: a controller rejects a blank choice."""
    return {
        "type": "multiplechoice",
        "variable": variable,
        "question_name": question,
        "question_description": "",
        "required": True,
        "min": None,
        "max": None,
        "choices": "\n".join(choices),
        "default": choices[0],
    }


def survey(*questions: Question) -> Survey:
    return {"name": "", "description": "", "spec": list(questions)}


def admin_survey(playbook: str, options: Options) -> Survey | None:
    """Return the survey of an administrator's job template, or None if it has no questions."""
    tenant = _tenant(options)
    one_tenant = text(TENANT, "Tenant; blank for all", longest=MAX_LABEL)
    vcluster = text(VCLUSTER, "Virtual cluster", required=True, longest=MAX_LABEL)
    confirm = text(CONFIRM, "The name once more", required=True, longest=MAX_LABEL)
    replace = text(CONFIRM, "The name once more, if the virtual cluster exists", longest=MAX_LABEL)
    surveys = {
        "audit": [one_tenant, text("audit_since", "Since, such as 7d")],
        "create_vcluster": [tenant, vcluster, *_options(options), replace],
        "delete_vcluster": [text(TENANT, "Tenant", required=True, longest=MAX_LABEL), vcluster, confirm],
        "offboard": [text(TENANT, "Tenant", required=True, longest=MAX_LABEL), confirm],
        "onboard": [one_tenant],
        "pause_vcluster": [text(TENANT, "Tenant", required=True, longest=MAX_LABEL), vcluster, choice(*_STATE)],
        "report": [one_tenant],
        "restore": [tenant, vcluster, text("tenantry_snapshot", "Snapshot; blank for the newest"), replace],
        "restore_drill": [tenant, vcluster],
        "upgrade": [
            text("tenantry_version", "Version of k3s", required=True),
            one_tenant,
            text(VCLUSTER, "Virtual cluster; blank for all", longest=MAX_LABEL),
        ],
    }
    return survey(*surveys[playbook]) if playbook in surveys else None


def _tenant(options: Options) -> Question:
    names = [tenant.name for tenant in options.tenants]
    return choice(TENANT, "Tenant", names) if names else text(TENANT, "Tenant", required=True, longest=MAX_LABEL)


def _options(options: Options) -> list[Question]:
    sizes = f"Size: {', '.join(options.sizes)}" if options.sizes else "Size, by name in tenantry_sizes"
    more = text("tenantry_vcluster_options", "More options of the module vcluster, as JSON", longest=16384)
    singles = [text(variable, question) for variable, question in _NEW_OPTIONS.items()]
    users = text("tenantry_users", "Users for it alone, such as alice:admin, bob", longest=4096)
    return [text("tenantry_size", sizes), *singles, users, {**more, "type": "textarea"}]


def tenant_surveys(tenant: Tenant, options: Options) -> dict[str, tuple[str, Survey]]:
    """Return the job templates of a tenant's team, by title: the playbook and the survey.

    The tenant's name is in none of them: it is an extra variable that no answer can replace.
    """
    longest = max(1, MAX_LABEL - len(f"{tenant.name}--"))
    vcluster = text(VCLUSTER, "Virtual cluster", required=True, longest=longest)
    found: dict[str, tuple[str, Survey]] = {}
    if options.sizes:
        found["create virtual cluster"] = (
            "create_vcluster",
            survey(
                vcluster,
                choice("tenantry_size", "Size", options.sizes),
                choice("tenantry_ttl", "Time to live, from its creation", options.ttls),
                text(CONFIRM, "The name once more, to change one that exists", longest=longest),
            ),
        )
    found["delete virtual cluster"] = (
        "delete_vcluster",
        survey(vcluster, text(CONFIRM, "The name once more. All data is lost", required=True, longest=longest)),
    )
    found["pause or resume virtual cluster"] = ("pause_vcluster", survey(vcluster, choice(*_STATE)))
    if tenant.vclusters:  # others would lose the options that the inventory does not have
        known = choice(VCLUSTER, "Virtual cluster of the inventory", tenant.vclusters)
        ttl = choice("tenantry_ttl", "Time to live, from its creation", options.ttls)
        found["extend virtual cluster"] = ("create_vcluster", survey(known, ttl))
    return found
