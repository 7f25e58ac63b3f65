#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_usage_info
short_description: Gather quotas and use of tenants
version_added: 0.1.0
description:
  - Returns for each tenant its quota, the sum of its virtual clusters' resources, the rest, and the current use of
    pods, volumes and services in them, over the whole fleet.
  - Use is the amount that the ResourceQuota C(vcluster) of each virtual cluster counts. For CPU and memory this is the
    sum of the limits of running pods, not the current consumption of processes.
  - RV(unreachable_members) lists hosts that do not answer. They do not fail the module. Virtual clusters on them count
    with the resources that the hub has on record, and with the use when it was last read if that was more. Their
    current use is missing in RV(tenants[].used).
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes.info
  - tenantry.kube.attributes.actiongroup
  - tenantry.kube.query
options:
  tenant:
    description: Only this tenant.
    type: str
seealso:
  - module: tenantry.kube.tenant_quota
  - module: tenantry.kube.vcluster_info
"""

EXAMPLES = r"""
- name: Gather the use of all tenants
  tenantry.kube.tenant_usage_info:
    kubeconfig: ~/.kube/hub.yaml
  register: usage

- name: Show it as a table
  ansible.builtin.debug:
    msg: "{{ (usage.tenants | tenantry.kube.usage_table).splitlines() }}"

- name: Gather the names of tenants beyond their quota
  tenantry.kube.tenant_usage_info:
    kubeconfig: ~/.kube/hub.yaml
    query: tenants[?exceeded].name
  register: beyond
"""

RETURN = r"""
tenants:
  description: The tenants, by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the tenant.
      type: str
    display_name:
      description: Its display name.
      type: str
    quota:
      description: Resources that its virtual clusters may use together.
      type: dict
      sample: {cpu: '8', memory: 16Gi, pods: '100', storage: 100Gi, vclusters: '5'}
    allocated:
      description:
        - The sum of its virtual clusters' resources, and their number. For those in RV(tenants[].unreadable), the
          limits of their ResourceQuota take the place of their resources.
      type: dict
      sample: {cpu: '5', memory: 6Gi, pods: '52', storage: 18Gi, vclusters: '2'}
    counted:
      description:
        - The amount that counts against the quota. For each virtual cluster these are its resources or, if they were
          reduced below the use, the use.
      type: dict
      sample: {cpu: '5', memory: 6Gi, pods: '52', storage: 18Gi, vclusters: '2'}
    available:
      description: The rest of the quota for further virtual clusters.
      type: dict
      sample: {cpu: '3', memory: 10Gi, pods: '48', storage: 82Gi, vclusters: '3'}
    used:
      description: The current use in all of its virtual clusters together, control planes included.
      type: dict
      sample: {cpu: 1600m, memory: 1322Mi, pods: '2', storage: 5Gi, vclusters: '2'}
    exceeded:
      description: The resources whose counted amount exceeds the quota, after the quota was lowered below it.
      type: list
      elements: str
    vclusters:
      description:
        - Its virtual clusters, by name, with use and limit of each resource.
        - C(status) is V(Unknown) for those on members that do not answer, with C(used) null, and null for all others.
      type: list
      elements: dict
      sample:
        - name: dev
          host: hub
          status: null
          resources: {cpu: {used: 1600m, hard: '3'}, memory: {used: 1322Mi, hard: 4Gi}}
    unreadable:
      description: For each of its virtual clusters whose record this release cannot read, the reason.
      type: dict
      sample: {}
unreachable_members:
  description: For each unreachable member, the reason.
  returned: success
  type: dict
query_result:
  description: The part of the other return values that O(query) selects.
  returned: if O(query) is set
  type: raw
  sample: [payments]
"""

from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec, run_info_module
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import usage


def main() -> None:
    run_info_module(argument_spec(tenant={"type": "str"}), lambda context, given: usage.run(context, given["tenant"]))


if __name__ == "__main__":
    main()
