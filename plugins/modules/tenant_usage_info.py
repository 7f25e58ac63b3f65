#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_usage_info
short_description: Look at what tenants may use and do use
version_added: 0.1.0
description:
  - Tells for each tenant its budget, what its virtual clusters have been given of it as slices, what is left, and what
    the pods, volumes and services in these slices use now, over the whole fleet.
  - Use is what the quota of each slice counts. Of CPU and memory that is the sum of the limits of what runs, which
    nobody else can be given, and not what the processes consume at the moment.
  - A host that cannot be asked is told in RV(unreachable_members), and what it has is missing in the sums. It does not
    fail the module.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes.info
  - tenantry.kube.attributes.actiongroup
options:
  tenant:
    description: Only this tenant.
    type: str
seealso:
  - module: tenantry.kube.tenant_quota
  - module: tenantry.kube.vcluster_info
"""

EXAMPLES = r"""
- name: Look at what all tenants use
  tenantry.kube.tenant_usage_info:
    kubeconfig: ~/.kube/hub.yaml
  register: usage

- name: Show it as a table
  ansible.builtin.debug:
    msg: "{{ usage.tenants | tenantry.kube.usage_table }}"

- name: Show who was given more than the budget has
  ansible.builtin.debug:
    msg: "{{ usage.tenants | selectattr('overdrawn') | map(attribute='name') }}"
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
      description: Its name for people.
      type: str
    budget:
      description: What its virtual clusters may use together.
      type: dict
      sample: {cpu: '8', memory: 16Gi, pods: '100', storage: 100Gi, vclusters: '5'}
    allotted:
      description: What its slices add up to, and the number of its virtual clusters.
      type: dict
      sample: {cpu: '5', memory: 6Gi, pods: '52', storage: 18Gi, vclusters: '2'}
    left:
      description: What is left of the budget for further slices.
      type: dict
      sample: {cpu: '3', memory: 10Gi, pods: '48', storage: 82Gi, vclusters: '3'}
    used:
      description: What is used now in all of its slices together, control planes included.
      type: dict
      sample: {cpu: 1600m, memory: 1322Mi, pods: '2', storage: 5Gi, vclusters: '2'}
    overdrawn:
      description: The resources of which more was given to virtual clusters than the budget has, since it was lowered.
      type: list
      elements: str
    vclusters:
      description: Its virtual clusters, by name, with what is used of each slice and at most.
      type: list
      elements: dict
      sample:
        - name: dev
          host: hub
          slice: {cpu: {used: 1600m, hard: '3'}, memory: {used: 1322Mi, hard: 4Gi}}
unreachable_members:
  description: For each member that could not be asked, why.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec, inform
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import usage as _tenant_usage


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(tenant={"type": "str"}), supports_check_mode=True)
    inform(module, lambda context: _tenant_usage.run(context, module.params["tenant"]))


if __name__ == "__main__":
    main()
