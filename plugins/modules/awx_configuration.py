#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: awx_configuration
short_description: Configure AWX for tenants and virtual clusters
version_added: 0.1.0
description:
  - "Creates in AWX or an automation controller what jobs of this collection need: an organization with a project, an
    inventory, an execution environment, credentials, job templates with surveys, and schedules."
  - Each tenant gets a team and workflows that only this team may launch, besides administrators. The name of the
    tenant is an extra variable of the workflow that no answer and no variable of a launch can replace. The job
    templates that the workflows start can only be seen by the team, because a bulk job or a workflow of a user
    replaces any extra variable of a job template.
  - Workflows, job templates and teams of tenants that are not in O(tenants) are deleted, and credentials whose options
    are not set. The virtual clusters of these tenants stay.
  - The description of every object that the module creates ends in V((managed by tenantry.kube\)). It changes
    and deletes no other. An object of the same name without this mark is an error.
  - Use an organization for each hub.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.attributes
attributes:
  idempotent:
    support: partial
    details: With O(update_secrets=true), every run writes the credentials again.
options:
  controller_host:
    description:
      - Address of the controller, such as V(https://awx.example.com). It must be C(https://). Certificates are always
        verified.
      - If not set, the environment variable E(CONTROLLER_HOST) is used.
    type: str
    required: true
  controller_oauthtoken:
    description:
      - OAuth 2 token of a system administrator with the scope C(write).
      - If not set, the environment variable E(CONTROLLER_OAUTH_TOKEN) is used.
    type: str
    required: true
  api_prefix:
    description: Path of the API at O(controller_host).
    type: str
    default: /api/v2/
  ca_path:
    description: File with the CA certificates of the controller. Defaults to those of the system.
    type: path
  timeout:
    description: Timeout of a single request, in seconds.
    type: int
    default: 30
  wait_timeout:
    description: Seconds to wait for the update of a project that was created or changed.
    type: int
    default: 300
  organization:
    description: Name of the organization. Credential types and the execution environment have it in their names.
    type: str
    default: tenantry
  project_url:
    description: Git URL of the project, a copy of the collection's directory C(awx/project) with your inventory.
    type: str
    required: true
  project_branch:
    description: Branch, tag or commit of the project. Defaults to the default branch.
    type: str
  project_credential:
    description: Name of an existing credential of the controller for O(project_url).
    type: str
  inventory_path:
    description: Inventory file or directory in the project.
    type: str
    default: inventory/hosts.yml
  execution_environment_image:
    description: Image of the execution environment, with this collection in it.
    type: str
    required: true
  execution_environment_credential:
    description: Name of an existing credential of the controller for the registry of O(execution_environment_image).
    type: str
  hub_host:
    description:
      - Address of the API server of the hub. It must be C(https://).
      - Required without O(hub_kubeconfig).
    type: str
  hub_token:
    description:
      - Token of a cluster administrator of the hub.
      - Required without O(hub_kubeconfig).
    type: str
  hub_ca_cert:
    description: CA certificate of the hub's API server, as PEM. Defaults to the CAs of the execution environment.
    type: str
  hub_kubeconfig:
    description:
      - "Kubeconfig of a cluster administrator of the hub: the path of a file on the machine that runs the module, or
        the content as a dictionary. Ansible masks the credentials in a dictionary. Paths in it are those of the
        execution environment."
      - Mutually exclusive with O(hub_host), O(hub_token) and O(hub_ca_cert).
    type: raw
  snapshot_passphrase:
    description:
      - Passphrase of snapshots, for the job templates C(backup), C(restore) and C(restore_drill).
      - Without it, the credential is deleted, and the inventory must have C(tenantry_snapshot_passphrase).
    type: str
  snapshot_access_key:
    description: Access key of the bucket for snapshots. Requires O(snapshot_secret_key).
    type: str
  snapshot_secret_key:
    description: Secret key of the bucket for snapshots. Requires O(snapshot_access_key).
    type: str
  update_secrets:
    description:
      - Whether to write credentials that exist already. The controller does not return secrets, so the module cannot
        see whether one of them changed.
      - Set it once after you changed a secret.
    type: bool
    default: false
  tenants:
    description:
      - The tenants, in the format of the role P(tenantry.kube.tenant#role). The module reads only C(name), and C(name)
        of each of C(vclusters).
      - An empty list deletes the teams, workflows and job templates of all tenants.
    type: list
    elements: dict
    required: true
  sizes:
    description:
      - Names of sizes in C(tenantry_sizes) of the inventory, from which tenants choose.
      - If empty, tenants get no job template that creates virtual clusters.
    type: list
    elements: str
    default: []
  ttls:
    description: Times to live from which tenants choose. The first is the default.
    type: list
    elements: str
    default: [1d, 7d, 30d]
  schedules:
    description:
      - Rules (RFC 5545) of the schedules of job templates, by playbook.
      - Keys are V(self_service), V(housekeeping), V(backup) and V(report). A playbook without a rule has no schedule.
    type: dict
    default:
      self_service: DTSTART:20260101T000000Z RRULE:FREQ=MINUTELY;INTERVAL=1
      housekeeping: DTSTART:20260101T000500Z RRULE:FREQ=MINUTELY;INTERVAL=10
      backup: DTSTART:20260101T020000Z RRULE:FREQ=DAILY;INTERVAL=1
      report: DTSTART:20260101T060000Z RRULE:FREQ=DAILY;INTERVAL=1
  failure_notifications:
    description:
      - Names of existing notification templates of the controller, such as for mail or a webhook. They report each
        failed job of the job templates with a schedule.
      - The module attaches them and never detaches one.
    type: list
    elements: str
    default: []
requirements:
  - kubernetes >= 31.0.0
  - PyYAML
notes:
  - Tested with the API of AWX 24.6.1, run from its source, and with a stand-in for it. No job ran there.
"""

EXAMPLES = r"""
- name: Configure AWX
  tenantry.kube.awx_configuration:
    controller_host: https://awx.example.com
    controller_oauthtoken: "{{ awx_token }}"
    project_url: https://git.example.com/platform/tenants.git
    execution_environment_image: registry.example.com/tenantry/ee:0.1.0
    hub_host: https://hub.example.com:6443
    hub_token: "{{ hub_token }}"
    hub_ca_cert: "{{ lookup('ansible.builtin.file', 'hub-ca.pem') }}"
    snapshot_passphrase: "{{ snapshot_passphrase }}"
    sizes: [small, large]
    tenants:
      - name: payments
        vclusters: [{name: dev}]
      - name: research
  delegate_to: localhost

- name: Write a new token of the hub
  tenantry.kube.awx_configuration:
    project_url: https://git.example.com/platform/tenants.git
    execution_environment_image: registry.example.com/tenantry/ee:0.1.0
    hub_host: https://hub.example.com:6443
    hub_token: "{{ hub_token }}"
    tenants: "{{ tenantry_tenants }}"
    update_secrets: true
  environment:
    CONTROLLER_HOST: https://awx.example.com
    CONTROLLER_OAUTH_TOKEN: "{{ awx_token }}"
"""

RETURN = r"""
results:
  description: One row for each object, the deleted ones included.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the object.
      type: str
      returned: always
      sample: job_template
    name:
      description: Name of the object.
      type: str
      returned: always
      sample: 'payments: create virtual cluster'
    changed:
      description: Whether anything was changed for it.
      type: bool
      returned: always
    actions:
      description: What was changed, or would be in check mode.
      type: list
      elements: dict
      returned: success
    error:
      description: Why this object failed. The others were processed, but for those that need it.
      type: str
      returned: failure
    not_done:
      description: The failed object without which this one was not processed.
      type: str
      returned: failure
"""

from ansible.module_utils.basic import env_fallback
from ansible_collections.tenantry.kube.plugins.module_utils._awx.configuration import run
from ansible_collections.tenantry.kube.plugins.module_utils._awx.options import (
    DEFAULT_SCHEDULES,
    DEFAULT_TTLS,
    Options,
)
from ansible_collections.tenantry.kube.plugins.module_utils._module import main as run_module

OPTIONS: dict[str, dict] = {
    "controller_host": {"type": "str", "required": True, "fallback": (env_fallback, ["CONTROLLER_HOST"])},
    "controller_oauthtoken": {
        "type": "str",
        "required": True,
        "no_log": True,
        "fallback": (env_fallback, ["CONTROLLER_OAUTH_TOKEN"]),
    },
    "api_prefix": {"type": "str", "default": "/api/v2/"},
    "ca_path": {"type": "path"},
    "timeout": {"type": "int", "default": 30},
    "wait_timeout": {"type": "int", "default": 300},
    "organization": {"type": "str", "default": "tenantry"},
    "project_url": {"type": "str", "required": True},
    "project_branch": {"type": "str"},
    "project_credential": {"type": "str"},
    "inventory_path": {"type": "str", "default": "inventory/hosts.yml"},
    "execution_environment_image": {"type": "str", "required": True},
    "execution_environment_credential": {"type": "str"},
    "hub_host": {"type": "str"},
    "hub_token": {"type": "str", "no_log": True},
    "hub_ca_cert": {"type": "str"},
    "hub_kubeconfig": {"type": "raw"},
    "snapshot_passphrase": {"type": "str", "no_log": True},
    "snapshot_access_key": {"type": "str", "no_log": True},
    "snapshot_secret_key": {"type": "str", "no_log": True},
    "update_secrets": {"type": "bool", "default": False, "no_log": False},
    "tenants": {"type": "list", "elements": "dict", "required": True},
    "sizes": {"type": "list", "elements": "str", "default": []},
    "ttls": {"type": "list", "elements": "str", "default": DEFAULT_TTLS},
    "schedules": {"type": "dict", "default": DEFAULT_SCHEDULES},
    "failure_notifications": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    run_module(OPTIONS, run, options=Options.of, item_options={}, key=None)


if __name__ == "__main__":
    main()
