#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_quota
short_description: Manage tenants and their quotas
version_added: 0.1.0
description:
  - Creates a tenant (a team or an individual) with its namespace C(tenant-NAME) on the hub, and sets the resources that
    its virtual clusters may use together over the whole fleet.
  - The tenant namespace holds the tenant's record and the identities of its users. No pods can run there.
  - A quota below the current use is accepted with a warning, and nothing is deleted.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes
  - tenantry.kube.attributes.actiongroup
options:
  tenant:
    description:
      - Name of the tenant. Lower-case letters, digits and single C(-).
      - Required unless O(tenants) is given.
    type: str
  display_name:
    description: Display name. Defaults to the tenant's name.
    type: str
  quota:
    description: Resources that the tenant's virtual clusters may use together. Omitted ones have their defaults.
    type: dict
    suboptions: &quota
      cpu:
        description: Cores, such as V(8) or V(500m).
        type: str
        default: '8'
      memory:
        description: Memory, such as V(16Gi).
        type: str
        default: 16Gi
      storage:
        description: Volumes, such as V(100Gi).
        type: str
        default: 100Gi
      pods:
        description: Number of pods.
        type: int
        default: 100
      vclusters:
        description: Number of virtual clusters.
        type: int
        default: 5
      ephemeral_storage:
        description: Disk of the nodes, such as V(200Gi). If omitted, it is not limited. Likewise for the options below.
        type: str
      node_ports:
        description: Number of node ports of services.
        type: int
      load_balancers:
        description: Number of load balancers of services.
        type: int
      extended:
        description:
          - Amount of each extended resource, such as V(4) of C(nvidia.com/gpu), and of huge pages, such as V(1Gi) of
            C(hugepages-2Mi).
          - They and O(quota.ephemeral_storage) are those of virtual clusters with C(mode=shared), see C(resources) of
            M(tenantry.kube.vcluster). Others have none that the host counts.
        type: dict
  paused_frees_quota:
    description:
      - Whether a virtual cluster that is paused or sleeps returns the resources of its pods to the quota, such as CPU,
        memory and the number of pods. It keeps its storage, and what a snapshot needs. It is resumed only if the
        quota has room.
      - A change applies to later pauses.
    type: bool
    default: true
  state:
    description:
      - V(present) creates the tenant or changes its quota.
      - V(absent) removes the tenant and its users. It fails while the tenant has virtual clusters.
    type: str
    choices: [present, absent]
    default: present
  tenants:
    description: Many tenants in one call, each with the options above.
    type: list
    elements: dict
    suboptions:
      tenant:
        description: Name of the tenant.
        type: str
        required: true
      display_name:
        description: Display name.
        type: str
      quota:
        description: Resources that the tenant's virtual clusters may use together.
        type: dict
        suboptions: *quota
      paused_frees_quota:
        description: Whether a paused virtual cluster returns the resources of its pods to the quota.
        type: bool
        default: true
      state:
        description: Whether the tenant exists.
        type: str
        choices: [present, absent]
        default: present
  wait_timeout:
    description: Seconds to wait until a tenant is gone, with O(state=absent).
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Create a tenant with the default quota
  tenantry.kube.tenant_quota:
    kubeconfig: ~/.kube/hub.yaml
    tenant: research

- name: Create or update several tenants
  tenantry.kube.tenant_quota:
    kubeconfig: ~/.kube/hub.yaml
    tenants:
      - tenant: payments
        display_name: Payments (department 7)
        quota:
          cpu: 16
          memory: 64Gi
          vclusters: 10
          extended:
            nvidia.com/gpu: 4
      - tenant: research

- name: Remove a tenant, its users and its tenant namespace
  tenantry.kube.tenant_quota:
    kubeconfig: ~/.kube/hub.yaml
    tenant: research
    state: absent
"""

RETURN = r"""
results:
  description: One row for each tenant.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the tenant.
      type: str
      returned: always
    namespace:
      description: Its tenant namespace on the hub.
      type: str
      returned: success
    quota:
      description: Its whole quota in canonical form.
      type: dict
      returned: O(state=present)
      sample: {cpu: '8', memory: 16Gi, pods: '100', storage: 100Gi, vclusters: '5'}
    changed:
      description: Whether anything was changed for it.
      type: bool
      returned: always
    actions:
      description: What was changed, or would be in check mode.
      type: list
      elements: dict
      returned: always
    error:
      description: Why this tenant failed. The others were processed, unless O(tenants) has invalid items.
      type: str
      returned: failure
    not_done:
      description: Why this tenant was not processed although the item is valid. Other items are invalid.
      type: str
      returned: failure
"""

from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    argument_spec,
    items_option,
)
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    main as run_module,
)
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.quota import DEFAULT_QUOTA, QuotaOptions, run

QUOTA: dict[str, dict] = {
    option: {"type": "int" if isinstance(default, int) else "str", "default": default}
    for option, default in DEFAULT_QUOTA.items()
}
QUOTA |= {
    "ephemeral_storage": {"type": "str"},
    "node_ports": {"type": "int"},
    "load_balancers": {"type": "int"},
    "extended": {"type": "dict"},
}
OPTIONS: dict[str, dict] = {
    "tenant": {"type": "str", "required": True},
    "display_name": {"type": "str"},
    "quota": {"type": "dict", "options": QUOTA},
    "paused_frees_quota": {"type": "bool", "default": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    spec = argument_spec(**OPTIONS, tenants=items_option(OPTIONS), wait_timeout={"type": "int", "default": 120})
    run_module(spec, run, options=QuotaOptions.of, list_option="tenants", item_options=OPTIONS, key="tenant")


if __name__ == "__main__":
    main()
