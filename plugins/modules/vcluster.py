#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vcluster
short_description: Manage virtual clusters
version_added: 0.1.0
description:
  - Creates, updates and deletes virtual clusters. Each is one k3s in a namespace of a cluster of the fleet, with its
    own API server and controllers. Its pods run on nodes of its own or on the host's, see O(mode).
  - Waits until the API answers and all nodes of its own are ready.
  - Validates all virtual clusters of a call before it writes the first, against the tenant's quota too.
author:
  - The tenantry.kube authors (@tenantry)
attributes:
  idempotent:
    support: partial
    details: O(state=restarted), and O(state=rotated) without O(rotate_older_than), act in each run.
extends_documentation_fragment:
  - tenantry.kube.vcluster
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes
  - tenantry.kube.attributes.async
  - tenantry.kube.attributes.actiongroup
options:
  wait:
    description:
      - Whether to wait until it is ready, or gone. With V(false), no kubeconfig is written for a new one.
      - O(state=rotated) always waits.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait for each. With O(state=rotated), for each round of restarts.
    type: int
    default: 300
seealso:
  - module: tenantry.kube.tenant_quota
  - module: tenantry.kube.tenant_user
  - module: tenantry.kube.vcluster_info
"""

EXAMPLES = r"""
- name: Create a virtual cluster on the hub whose pods are pods of the hub, and expose it at a node port
  tenantry.kube.vcluster:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: dev
    version: v1.37.2+k3s1
    syncer_image: registry.example.com/tenantry/syncer:0.1.0
    resources: {cpu: 4, memory: 8Gi, storage: 20Gi, pods: 50}
    expose:
      type: NodePort
    kubeconfig_path: ~/.kube/payments--dev.yaml

# The following examples take the image of the syncer from the environment variable TENANTRY_SYNCER_IMAGE.
- name: Create two at once, one of them on a member of the fleet, with nodes of its own (privileged pods there)
  tenantry.kube.vcluster:
    kubeconfig: ~/.kube/hub.yaml
    vclusters:
      - tenant: payments
        name: stage
        version: v1.37.2+k3s1
        resources: {cpu: 2, memory: 4Gi, pods: 20}
        pod_security: restricted
      - tenant: research
        name: lab
        host: edge
        mode: dedicated
        version: v1.37.2+k3s1
        agents: 2
        tier: prod
        resources: {cpu: 6, memory: 12Gi}

- name: Create one in the EU, where the fleet has room for it, and not in the region of the tenant's other ones
  tenantry.kube.vcluster:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: standby
    version: v1.37.2+k3s1
    resources: {cpu: 4, memory: 8Gi, pods: 50}
    placement:
      match_labels:
        jurisdiction: eu
      spread_by: region
  register: standby

- name: Pause one for the holidays (state resumed starts it again)
  tenantry.kube.vcluster:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: dev
    state: paused

- name: Replace the CAs of its k3s if they are older than a year (then run tenant_user for outdated_kubeconfigs)
  tenantry.kube.vcluster:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: dev
    state: rotated
    rotate_older_than: 365d

- name: Create one for a workshop, which the playbook housekeeping pauses at night and deletes after two weeks
  tenantry.kube.vcluster:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: workshop
    version: v1.37.2+k3s1
    resources: {cpu: 4, memory: 8Gi, pods: 50}
    ttl: 14d
    sleep:
      idle: 2h
      schedule: ['mon-fri 20:00-06:00', 'sat,sun']
      timezone: Europe/Berlin

- name: Delete one
  tenantry.kube.vcluster:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: dev
    state: absent
"""

RETURN = r"""
results:
  description: One row for each virtual cluster. For a single one, its fields are at the top level too.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: Its name., returned: always, type: str}
    tenant: {description: Its tenant., returned: always, type: str}
    host: {description: The cluster of the fleet it is on., returned: always, type: str}
    placement:
      description: The decision of O(placement) for a new virtual cluster.
      returned: if O(placement) chooses its host
      type: dict
      contains:
        host: {description: The chosen host. Null if none fits., type: str, returned: always}
        score: {description: Its score. Null if none fits., type: int, returned: always}
        members:
          description: Each cluster of the fleet, by name.
          returned: always
          type: list
          elements: dict
          contains:
            name: {description: Its name., type: str, returned: always}
            score: {description: Weighted sum of its scores., type: int, returned: if it fits}
            scores: {description: 'Its scores, by O(placement.weights).', type: dict, returned: if it fits}
            excluded_by:
              description:
                - The first rule that excludes it, one of C(Reachable), C(LabelSelector), C(TaintToleration), C(Nodes),
                  C(Mode), C(Version), C(StorageClass), C(IngressClass), C(Capacity) and C(NodeFit).
              type: str
              returned: if it does not fit
            reason: {description: 'Why, with amounts.', type: str, returned: if it does not fit}
    namespace: {description: Its namespace there., returned: always, type: str}
    state: {description: The requested state., returned: always, type: str}
    endpoint: {description: URL of its API for users., returned: O(state=present), type: str}
    version: {description: Release of k3s., returned: O(state=present), type: str}
    nodes:
      description: Ready nodes of all nodes. With O(mode=shared), these are the nodes of the host that run its pods now.
      returned: O(state=present)
      type: str
      sample: 1/1
    ready: {description: Whether the API answered and all nodes were ready., returned: O(state=present), type: bool}
    resources:
      description: Its part of the tenant's quota.
      returned: O(state=present)
      type: dict
      sample: {cpu: '2', memory: 3Gi, pods: '2', storage: 5Gi}
    kubeconfig:
      description: Path of the administrator's kubeconfig.
      returned: O(state=present) or O(state=rotated)
      type: str
    outdated_kubeconfigs:
      description:
        - Users of the tenant whose kubeconfigs contain the former CA. The next run of M(tenantry.kube.tenant_user)
          renews those that it manages. Empty if nothing was replaced.
      returned: O(state=rotated)
      type: list
      elements: str
      sample: [alice, bob]
    seconds: {description: Seconds since the start of the module., returned: always, type: float}
    changed: {description: Whether anything was changed for it., returned: always, type: bool}
    actions:
      description: What was changed, or would be in check mode, on the host and in the virtual cluster.
      returned: always
      type: list
      elements: dict
    error:
      description: Why it failed. The others were processed, unless O(vclusters) has invalid items.
      returned: failure
      type: str
    not_done:
      description: Why it was not processed although the item is valid. Other items are invalid.
      returned: failure
      type: str
"""

from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    argument_spec,
    items_option,
)
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    main as run_module,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import OPTIONS as CALL_OPTIONS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import VClusterOptions
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.reconcile import run
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.options import OPTIONS


def main() -> None:
    spec = argument_spec(
        **OPTIONS,
        vclusters=items_option(OPTIONS),
        **CALL_OPTIONS,
    )
    run_module(
        spec,
        run,
        options=VClusterOptions.of,
        list_option="vclusters",
        item_options=OPTIONS,
        key=("tenant", "name"),
    )


if __name__ == "__main__":
    main()
