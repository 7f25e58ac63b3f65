# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The objects that a controller should have, from the tenants and the options. Pure."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._awx import objects as kinds
from ansible_collections.tenantry.kube.plugins.module_utils._awx.objects import Desired, Node, Ref, described
from ansible_collections.tenantry.kube.plugins.module_utils._awx.options import Options, Tenant
from ansible_collections.tenantry.kube.plugins.module_utils._awx.surveys import (
    ADMIN_PLAYBOOKS,
    SNAPSHOT_PLAYBOOKS,
    TENANT,
    Survey,
    admin_survey,
    tenant_surveys,
)

WORKFLOW = "onboard with approval"
NAME = "tenantry.kube"  # of the project, the inventory and its source
# Namespaces of credential types that every controller has.
KUBERNETES, AWS = "kubernetes_bearer_token", "aws"
HUB, PASSPHRASE, BUCKET = "tenantry.kube hub", "tenantry.kube snapshot passphrase", "tenantry.kube snapshot bucket"
KUBECONFIG_TYPE, PASSPHRASE_TYPE = "kubeconfig", "snapshot passphrase"

# Whatever a launch could override. Of a tenant's template, nothing but the answers of the survey.
PROMPTS = (
    "ask_credential_on_launch",
    "ask_diff_mode_on_launch",
    "ask_execution_environment_on_launch",
    "ask_forks_on_launch",
    "ask_instance_groups_on_launch",
    "ask_inventory_on_launch",
    "ask_job_slice_count_on_launch",
    "ask_job_type_on_launch",
    "ask_labels_on_launch",
    "ask_limit_on_launch",
    "ask_scm_branch_on_launch",
    "ask_skip_tags_on_launch",
    "ask_tags_on_launch",
    "ask_timeout_on_launch",
    "ask_variables_on_launch",
    "ask_verbosity_on_launch",
)
WORKFLOW_PROMPTS = tuple(
    f"ask_{name}_on_launch" for name in ("inventory", "labels", "limit", "scm_branch", "skip_tags", "tags", "variables")
)
# An administrator may choose a check.
ADMIN_PROMPTS = frozenset({"ask_diff_mode_on_launch", "ask_job_type_on_launch"})


def desired(options: Options) -> list[Desired]:
    """Return all objects, each behind those that it refers to."""
    return [
        Desired(
            kinds.ORGANIZATION, options.organization, {"description": described("Virtual clusters of tenantry.kube")}
        ),
        *_credential_types(options),
        *_credentials(options),
        _execution_environment(options),
        *_project(options),
        *(_team(tenant, options) for tenant in options.tenants),
        *(_admin_template(playbook, options) for playbook in ADMIN_PLAYBOOKS),
        _workflow(options),
        *(template for tenant in options.tenants for template in _tenant_templates(tenant, options)),
        *(_schedule(playbook, rule) for playbook, rule in options.schedules.items()),
    ]


def template_name(tenant: str, title: str) -> str:
    """Return the name of a tenant's job template. A colon is in no name of a tenant and of a playbook."""
    return f"{tenant}: {title}"


def _organization(options: Options) -> Ref:
    return Ref(kinds.ORGANIZATION, options.organization)


def _global(options: Options, name: str) -> str:
    """Return a name for an object whose name is unique in the whole controller, not in its organization."""
    return f"{options.organization} {name}"


def _credential_types(options: Options) -> list[Desired]:
    types = []
    if options.hub.by_kubeconfig:
        injectors = {
            "file": {"template": "{{ kubeconfig }}"},
            "env": {"K8S_AUTH_KUBECONFIG": "{{ tower.filename }}"},
        }
        types.append(_credential_type(options, KUBECONFIG_TYPE, "kubeconfig", injectors, multiline=True))
    if options.passphrase:
        variables = {"extra_vars": {"tenantry_snapshot_passphrase": "{{ passphrase }}"}}
        types.append(_credential_type(options, PASSPHRASE_TYPE, "passphrase", variables))
    return types


def _credential_type(
    options: Options, name: str, field: str, injectors: dict[str, Any], *, multiline: bool = False
) -> Desired:
    """Return a credential type with one secret field, which is required."""
    one = {"id": field, "label": field.capitalize(), "type": "string", "secret": True}
    inputs = {"fields": [{**one, "multiline": True} if multiline else one], "required": [field]}
    fields = {"description": described(f"For {NAME}"), "kind": "cloud", "inputs": inputs, "injectors": injectors}
    return Desired(kinds.CREDENTIAL_TYPE, _global(options, name), fields)


def _credentials(options: Options) -> list[Desired]:
    if options.hub.by_kubeconfig:
        hub_type, secrets = Ref(kinds.CREDENTIAL_TYPE, _global(options, KUBECONFIG_TYPE)), {"kubeconfig"}
    else:
        hub_type, secrets = Ref(kinds.BUILT_IN_TYPE, KUBERNETES), {"bearer_token", "ssl_ca_cert"}
    found = [_credential(options, HUB, hub_type, options.hub.inputs, secrets)]
    if options.passphrase:
        own = Ref(kinds.CREDENTIAL_TYPE, _global(options, PASSPHRASE_TYPE))
        found.append(_credential(options, PASSPHRASE, own, {"passphrase": options.passphrase}, {"passphrase"}))
    if options.bucket:
        aws = Ref(kinds.BUILT_IN_TYPE, AWS)
        found.append(_credential(options, BUCKET, aws, options.bucket, {"password"}))
    return found


def _credential(options: Options, name: str, of_type: Ref, inputs: dict[str, Any], secrets: set[str]) -> Desired:
    fields = {
        "description": described(f"For jobs of {NAME}"),
        "organization": _organization(options),
        "credential_type": of_type,
        "inputs": inputs,
    }
    return Desired(kinds.CREDENTIAL, name, fields, secrets=frozenset(secrets))


def _execution_environment(options: Options) -> Desired:
    fields = {
        "description": described(f"With the collection {NAME}"),
        "organization": _organization(options),
        "image": options.image,
        "credential": _foreign(options.image_credential),
    }
    return Desired(kinds.EXECUTION_ENVIRONMENT, _global(options, "execution environment"), fields)


def _foreign(name: str) -> Ref | None:
    return Ref(kinds.FOREIGN_CREDENTIAL, name) if name else None


def _project(options: Options) -> list[Desired]:
    """Return the project, and the inventory with its source in the project."""
    project = {
        "description": described(f"Playbooks and inventory of {NAME}"),
        "organization": _organization(options),
        "scm_type": "git",
        "scm_url": options.project_url,
        "scm_branch": options.project_branch,
        "credential": _foreign(options.project_credential),
        "scm_update_on_launch": True,
        "scm_update_cache_timeout": 60,
        "allow_override": False,
    }
    inventory = {"description": described("The hub and the tenants"), "organization": _organization(options)}
    source = {
        "description": described("From the project"),
        "inventory": Ref(kinds.INVENTORY, NAME),
        "source": "scm",
        "source_project": Ref(kinds.PROJECT, NAME),
        "source_path": options.inventory_path,
        "overwrite": True,
        "overwrite_vars": True,
        "update_on_launch": True,
        "update_cache_timeout": 60,
    }
    return [
        Desired(kinds.PROJECT, NAME, project),
        Desired(kinds.INVENTORY, NAME, inventory),
        Desired(kinds.INVENTORY_SOURCE, NAME, source),
    ]


def _team(tenant: Tenant, options: Options) -> Desired:
    fields = {"description": described(f"Tenant {tenant.name}"), "organization": _organization(options)}
    return Desired(kinds.TEAM, tenant.name, fields)


def _admin_template(playbook: str, options: Options) -> Desired:
    asked = admin_survey(playbook, options)
    fields = _template_fields(options, ADMIN_PLAYBOOKS[playbook], playbook, {}, asked)
    fields |= {prompt: prompt in ADMIN_PROMPTS for prompt in PROMPTS}
    return Desired(
        kinds.JOB_TEMPLATE,
        playbook,
        fields,
        survey=asked,
        credentials=_credentials_of_jobs(playbook, options),
        # Somebody waits for the other jobs.
        notifications=tuple(Ref(kinds.NOTIFICATION, name) for name in options.notifications)
        if playbook in options.schedules
        else (),
    )


def _tenant_templates(tenant: Tenant, options: Options) -> list[Desired]:
    """Return the tenant's job templates, and for each the workflow of the same name that its team may launch.

    Users who may launch a job template may put it into a workflow of their own, or a bulk job. The variables of
    these replace those of a job template without a question, but not those of a workflow.
    """
    found = []
    team = Ref(kinds.TEAM, tenant.name)
    for title, (playbook, asked) in tenant_surveys(tenant, options).items():
        name, text, variables = template_name(tenant.name, title), f"Tenant {tenant.name}", {TENANT: tenant.name}
        fields = _template_fields(options, text, playbook, variables, None)
        template = Desired(
            kinds.JOB_TEMPLATE,
            name,
            {**fields, **dict.fromkeys(PROMPTS, False)},
            credentials=_credentials_of_jobs(playbook, options),
            reader=team,
        )
        nodes = (Node("run", template.ref),)
        workflow = _workflow_fields(options, text, variables)
        found += [template, Desired(kinds.WORKFLOW, name, workflow, survey=asked, team=team, nodes=nodes)]
    return found


def _template_fields(
    options: Options, text: str, playbook: str, variables: dict[str, str], asked: Survey | None
) -> dict[str, Any]:
    return {
        "description": described(text),
        "job_type": "run",
        "inventory": Ref(kinds.INVENTORY, NAME),
        "project": Ref(kinds.PROJECT, NAME),
        "playbook": f"{playbook}.yml",
        "execution_environment": Ref(kinds.EXECUTION_ENVIRONMENT, _global(options, "execution environment")),
        "extra_vars": json.dumps(variables),
        "survey_enabled": asked is not None,
        # Users of one tenant do not wait for each other. Those of an administrator run one at a time.
        "allow_simultaneous": bool(variables),
        "limit": "",
        "job_tags": "",
        "skip_tags": "",
    }


def _credentials_of_jobs(playbook: str, options: Options) -> tuple[Ref, ...]:
    names = [HUB]
    if playbook in SNAPSHOT_PLAYBOOKS:
        names += [PASSPHRASE] if options.passphrase else []
        names += [BUCKET] if options.bucket else []
    return tuple(Ref(kinds.CREDENTIAL, name) for name in names)


def _workflow(options: Options) -> Desired:
    """Return the workflow that shows what would change, waits for an approval, changes it, and reports."""
    fields = _workflow_fields(options, "Check, approval, onboard, report", {})
    onboard, report = Ref(kinds.JOB_TEMPLATE, "onboard"), Ref(kinds.JOB_TEMPLATE, "report")
    nodes = (Node("check", onboard, "check"), Node("approval", None), Node("onboard", onboard), Node("report", report))
    return Desired(kinds.WORKFLOW, WORKFLOW, fields, survey=admin_survey("onboard", options), nodes=nodes)


def _workflow_fields(options: Options, text: str, variables: dict[str, str]) -> dict[str, Any]:
    return {
        "description": described(text),
        "organization": _organization(options),
        "survey_enabled": True,
        "extra_vars": json.dumps(variables),
        "allow_simultaneous": bool(variables),
        **dict.fromkeys(WORKFLOW_PROMPTS, False),
    }


def _schedule(playbook: str, rule: str) -> Desired:
    fields = {
        "description": described(ADMIN_PLAYBOOKS[playbook]),
        "unified_job_template": Ref(kinds.JOB_TEMPLATE, playbook),
        "rrule": rule,
        "enabled": True,
    }
    return Desired(kinds.SCHEDULE, playbook, fields)
