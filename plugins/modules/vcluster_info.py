#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vcluster_info
short_description: Gather virtual clusters
version_added: 0.1.0
description:
  - Lists virtual clusters of the whole fleet with their state, read live from their hosts and their own API servers.
  - RV(unreachable_members) lists members that do not answer. They do not fail the module. Virtual clusters on them have
    the status V(Unknown), and what the hub has on record of their resources.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes.info
  - tenantry.kube.attributes.actiongroup
  - tenantry.kube.query
options:
  tenant:
    description: Only those of this tenant.
    type: str
  name:
    description: Only those of this name.
    type: str
  host:
    description: Only those on this cluster of the fleet, V(hub) or the name of a member.
    type: str
seealso:
  - module: tenantry.kube.vcluster
"""

EXAMPLES = r"""
- name: Gather all virtual clusters
  tenantry.kube.vcluster_info:
    kubeconfig: ~/.kube/hub.yaml
  register: found

- name: Gather the namespaces of those that are not ready
  tenantry.kube.vcluster_info:
    kubeconfig: ~/.kube/hub.yaml
    query: vclusters[?status!='Ready'].namespace
  register: not_ready
"""

RETURN = r"""
vclusters:
  description: The virtual clusters, by tenant and name.
  returned: success
  type: list
  elements: dict
  contains:
    tenant:
      description: Its tenant.
      type: str
    name:
      description: Its name.
      type: str
    host:
      description: The cluster of the fleet it is on.
      type: str
    namespace:
      description: Its namespace there.
      type: str
    status:
      description:
        - V(Ready) if its API answers and all its nodes are ready, V(NotReady), V(Paused), or V(Deleting).
        - V(Unknown) if it is on a member that does not answer. Then only its name, host and limits are known.
        - A virtual cluster of mode V(shared) is ready while its syncer is.
      type: str
    message:
      description: Why it is not ready, or unknown.
      type: str
    version:
      description: The release that its API server reports or, if it does not answer, the configured one.
      type: str
    datastore:
      description:
        - The database of its datastore, without credentials. V(etcd) is that of three servers.
        - Null for SQLite on a volume.
      type: str
      sample: postgres://db.example.com:5432/payments_dev
    servers:
      description: Ready servers of all servers.
      type: str
      sample: 3/3
    nodes:
      description: Ready nodes of all nodes. In mode V(shared), these are the nodes of the host that run its pods now.
      type: str
      sample: 1/1
    endpoint:
      description: URL of its API for users.
      type: str
    resources:
      description:
        - Use and hard limit of cpu, memory, storage and pods, and of what else it has. C(used) is null if the status is
          V(Unknown). A paused one has limits of what it keeps, see
          O(tenantry.kube.tenant_quota#module:paused_frees_quota).
      type: dict
      sample: {cpu: {used: '2', hard: '2'}}
    mode:
      description: Where its pods run, V(dedicated) or V(shared).
      type: str
    tier:
      description: Its tier.
      type: str
    created:
      description: When it was created.
      type: str
    certificates_valid_until:
      description:
        - Until when all certificates of its servers and agents are valid for certain. They may be valid for longer. k3s
          renews them at a start, which the playbook C(housekeeping) does a month before.
        - Null if none of them runs.
      type: str
      sample: '2027-02-28T09:00:00Z'
    deletion_protection:
      description: Whether it is protected from deletion.
      type: bool
    expires:
      description: When the playbook C(housekeeping) deletes it, if ever.
      type: str
    sleep:
      description: When the playbook C(housekeeping) pauses it, as requested.
      type: dict
unreachable_members:
  description: For each unreachable member, the reason.
  returned: success
  type: dict
query_result:
  description: The part of the other return values that O(query) selects.
  returned: if O(query) is set
  type: raw
  sample: [payments--dev]
"""

from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec, run_info_module
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import info

OPTIONS = {"tenant": {"type": "str"}, "name": {"type": "str"}, "host": {"type": "str"}}


def main() -> None:
    run_info_module(
        argument_spec(**OPTIONS), lambda context, given: info.run(context, *(given[option] for option in OPTIONS))
    )


if __name__ == "__main__":
    main()
