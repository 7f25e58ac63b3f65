#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_info
short_description: Tell who was given which credential, and who made and deleted what
version_added: 0.1.0
description:
  - Makes one account, in the order of time, of tenants, budgets, users, roles, credentials, virtual clusters, slices,
    snapshots and members, and of every access to the inside of a control plane.
  - It is told by the audit logs of API servers. Those of virtual clusters are read from their servers' volumes; of the
    hub and of members there is no way to read them through the API, so they are given as files.
  - What exists and is told by no log is added from the record that the object itself has, without an actor.
  - Only requests that succeeded are told. No content of an object is read from a log.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes.info
  - tenantry.kube.attributes.actiongroup
options:
  tenant:
    description: Only what concerns this tenant.
    type: str
  since:
    description: Only the last such time, such as V(7d). All that the logs have, if not set.
    type: str
  audit_logs:
    description: Audit logs of API servers, of level C(Metadata) or more, as files on the machine that runs the module.
    type: list
    elements: dict
    default: []
    suboptions:
      cluster:
        description: V(hub), the name of a member, or C(TENANT--NAME) of a virtual cluster.
        type: str
        required: true
      path:
        description: The file, or one of several of the same cluster.
        type: path
        required: true
  read_vclusters:
    description: Whether to read the logs of the virtual clusters that run and are not in O(audit_logs).
    type: bool
    default: true
  platform_access:
    description:
      - Whether to tell the accesses of playbooks to the inside of control planes, too. Every run has many.
      - Which these are is known by what the client says of itself. See the notes.
    type: bool
    default: false
notes:
  - Playbooks come to the hub with the credential of whoever runs them, and an operator who has the same credential can
    have another program call itself V(tenantry.kube). O(platform_access=true) shows all of these.
  - Members and virtual clusters know the platform by a credential of its own. On whose behalf it acts,
    RV(events[].requested_by), is what the platform says.
seealso:
  - module: tenantry.kube.tenant_user_info
"""

EXAMPLES = r"""
- name: Look at what was done in the last week
  tenantry.kube.audit_info:
    kubeconfig: ~/.kube/hub.yaml
    since: 7d
    audit_logs:
      - {cluster: hub, path: /var/log/hub/audit.log}
      - {cluster: edge, path: /var/log/edge/audit.log}
  register: audit

- name: Show it
  ansible.builtin.debug:
    msg: "{{ audit.events | tenantry.kube.audit_table }}"
"""

RETURN = r"""
events:
  description: What happened, the oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    time:
      description: When, in UTC, by the clock of the API server.
      type: str
      sample: '2026-04-01T12:00:00Z'
    cluster:
      description: Whose API server tells it, V(hub), a member, or C(TENANT--NAME) of a virtual cluster.
      type: str
    tenant:
      description: The tenant concerned, if it is one.
      type: str
    actor:
      description: Who did it, as that API server authenticated it; empty where only the object's record tells.
      type: str
      sample: system:admin
    requested_by:
      description: On whose behalf the platform did it, by the name that the hub knew.
      type: str
    action:
      description:
        - C(created), C(changed), C(deleted), C(granted), C(withdrawn), C(issued), C(revoked), C(taken), C(restored).
        - Of an access, its verb or subresource.
      type: str
    kind:
      description:
        - C(tenant), C(budget), C(user), C(role), C(credential), C(vcluster), C(slice), C(snapshot), C(member) or
          C(access).
      type: str
    name:
      description: What it was done to.
      type: str
    kubeconfig:
      description: The kubeconfig that a credential is for, while it is not revoked.
      type: str
      returned: for credentials
    expires:
      description: When a credential expires, while it is not revoked.
      type: str
      returned: for credentials
    credential_id:
      description: How logs name a credential that was issued.
      type: str
    tool:
      description: What the client said it is.
      type: str
    source:
      description: C(log), or C(record) for what only the object itself tells.
      type: str
    count:
      description: How often it was repeated, each time within ten minutes of the last.
      type: int
logs:
  description: The logs that were read, with their number of events and the time of the first.
  returned: success
  type: list
  elements: dict
  sample: [{cluster: hub, begins: '2026-03-01T00:00:00Z', events: 5120}]
without_log:
  description: The clusters of the fleet of which there was no log, so that what was deleted there is not known.
  returned: success
  type: list
  elements: str
unreachable_members:
  description: For each member that could not be asked, why.
  returned: success
  type: dict
unreachable_vclusters:
  description: For each virtual cluster whose log could not be read, why.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tenantry.kube.plugins.module_utils._audit import report as _audit_info
from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec, inform

LOG = {"cluster": {"type": "str", "required": True}, "path": {"type": "path", "required": True}}
OPTIONS = {
    "tenant": {"type": "str"},
    "since": {"type": "str"},
    "audit_logs": {"type": "list", "elements": "dict", "default": [], "options": LOG},
    "read_vclusters": {"type": "bool", "default": True},
    "platform_access": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**OPTIONS), supports_check_mode=True)
    inform(module, lambda context: _audit_info.run(context, module.params))


if __name__ == "__main__":
    main()
