#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_info
short_description: Gather audit events of the platform
version_added: 0.1.0
description:
  - Returns one list, in order of time, of changes to tenants, quotas, users, roles, credentials, virtual clusters,
    resources, snapshots and members, and of every access to a control plane.
  - The events come from the audit logs of API servers. The module reads those of virtual clusters from their servers'
    volumes. The API does not give access to those of the hub and of members, so you provide them as files.
  - If no log has the creation of an existing object, the module adds an event from the object's own record, without an
    actor.
  - Returns only requests that succeeded, and reads no content of objects from a log.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes.info
  - tenantry.kube.attributes.actiongroup
  - tenantry.kube.query
options:
  tenant:
    description: Only events of this tenant.
    type: str
  since:
    description: Only events of this last period, such as V(7d). Defaults to everything in the logs.
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
      - Whether to return accesses of playbooks to control planes too. Every run has many.
      - These are requests of a client that calls itself V(tenantry.kube) with a credential of the platform. See the
        notes.
    type: bool
    default: false
notes:
  - The name of a client counts only with the platform's own credential. In a virtual cluster that is the user
    C(tenantry:platform) of the group C(system:masters), on a member the platform's ServiceAccount. On the hub it is any
    user who may C(manage) C(platform.tenantry.dev), because playbooks use the credential of the user who runs them. So
    a platform operator can hide accesses among those of playbooks. O(platform_access=true) shows all of these.
  - Members and virtual clusters know the platform by a credential of its own. On whose behalf it acts,
    RV(events[].requested_by), is what the platform says.
seealso:
  - module: tenantry.kube.tenant_user_info
"""

EXAMPLES = r"""
- name: Gather the events of the last week
  tenantry.kube.audit_info:
    kubeconfig: ~/.kube/hub.yaml
    since: 7d
    audit_logs:
      - {cluster: hub, path: /var/log/hub/audit.log}
      - {cluster: edge, path: /var/log/edge/audit.log}
  register: audit

- name: Gather the users who have deleted something
  tenantry.kube.audit_info:
    kubeconfig: ~/.kube/hub.yaml
    query: events[?action=='deleted'].actor
  register: deleted

- name: Show them as a table
  ansible.builtin.debug:
    msg: "{{ (audit.events | tenantry.kube.audit_table).splitlines() }}"
"""

RETURN = r"""
events:
  description: The events, the oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    time:
      description: Time in UTC, by the clock of the API server.
      type: str
      sample: '2026-04-01T12:00:00Z'
    cluster:
      description: Cluster of the API server, V(hub), a member, or C(TENANT--NAME) of a virtual cluster.
      type: str
    tenant:
      description: The tenant, if the event concerns one.
      type: str
    actor:
      description: The user, as the API server authenticated them. Empty if the event comes from an object's record.
      type: str
      sample: system:admin
    requested_by:
      description:
        - The user on whose behalf the platform acted, by their name on the hub.
        - Empty for any other credential than the platform's.
      type: str
    acted_as:
      description:
        - The identity that RV(events[].actor) impersonated (C(kubectl --as)), with its groups, UID and names of extra
          fields.
      type: str
      sample: 'system:node:worker-1 (groups system:nodes)'
    action:
      description:
        - C(created), C(changed), C(deleted), C(granted), C(withdrawn), C(issued), C(revoked), C(taken), C(restored).
        - Of an access, its verb or subresource.
      type: str
    kind:
      description:
        - C(tenant), C(quota), C(promise), C(user), C(role), C(credential), C(vcluster), C(resources), C(snapshot),
          C(member) or C(access).
        - A C(promise) is written by each run that creates, changes or deletes a virtual cluster, see docs/fleet.md.
      type: str
    name:
      description: Name of the object.
      type: str
    kubeconfig:
      description: The kubeconfig of a credential that is not revoked.
      type: str
      returned: for credentials
    expires:
      description: When a credential that is not revoked expires.
      type: str
      returned: for credentials
    credential_id:
      description: Id of an issued credential in logs.
      type: str
    tool:
      description: The client's name for itself.
      type: str
    platform:
      description: Whether the platform acted, by its credential and not only by the client's name.
      type: bool
    source:
      description: C(log), or C(record) for an event from an object's own record.
      type: str
    count:
      description: Number of repetitions, each within ten minutes of the last.
      type: int
logs:
  description: The logs that were read, with their number of events and the time of the first.
  returned: success
  type: list
  elements: dict
  sample: [{cluster: hub, begins: '2026-03-01T00:00:00Z', events: 5120}]
late_logs:
  description:
    - For each log that does not reach back to the period asked for, since when it does. Without O(since), that is the
      creation of the first object that it can tell of.
    - Earlier events are lost, for example because a user has rolled the log over. No event from that time does not mean
      that nothing was done.
  returned: success
  type: dict
  sample: {payments--dev: 'begins at 2026-04-02T09:00:00Z: earlier events are lost'}
without_log:
  description: The clusters of the fleet without a log. Deletions there are not known.
  returned: success
  type: list
  elements: str
unreachable_members:
  description: For each unreachable member, the reason.
  returned: success
  type: dict
unreachable_vclusters:
  description: For each virtual cluster whose log the module could not read, or not to its end, the reason.
  returned: success
  type: dict
query_result:
  description: The part of the other return values that O(query) selects.
  returned: if O(query) is set
  type: raw
  sample: [alice]
"""

from ansible_collections.tenantry.kube.plugins.module_utils._audit import report
from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec, run_info_module

LOG = {"cluster": {"type": "str", "required": True}, "path": {"type": "path", "required": True}}
OPTIONS: dict[str, dict] = {
    "tenant": {"type": "str"},
    "since": {"type": "str"},
    "audit_logs": {"type": "list", "elements": "dict", "default": [], "options": LOG},
    "read_vclusters": {"type": "bool", "default": True},
    "platform_access": {"type": "bool", "default": False},
}


def main() -> None:
    run_info_module(
        argument_spec(**OPTIONS), lambda context, given: report.run(context, report.ReportOptions.of(given))
    )


if __name__ == "__main__":
    main()
