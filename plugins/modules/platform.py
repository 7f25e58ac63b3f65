#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: platform
short_description: Install the platform on the cluster that is to be the hub
version_added: 0.1.0
description:
  - Makes one Kubernetes cluster the hub, from which tenants, users and virtual clusters are managed, on it and on the
    members that join it.
  - The hub gets the namespace C(tenantry-system), the four ClusterRoles C(tenantry:viewer), C(tenantry:developer),
    C(tenantry:admin) and C(tenantry:operator), the ClusterRole C(tenantry:vcluster-manager), the PriorityClasses
    C(tenantry-dev) and C(tenantry-prod), the registry of the fleet, and admission policies.
  - By these, objects of the platform can be changed by the platform, by administrators of the hub and by Kubernetes
    itself only. Others can be let through by the verb C(manage) on C(platform.tenantry.dev).
  - Nothing of it keeps a pod running. An object of the same name that is not the platform's own is never taken over.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes
  - tenantry.kube.attributes.actiongroup
options:
  state:
    description:
      - V(present) installs what is missing and repairs what was changed.
      - V(absent) removes the platform. It is refused while there are tenants or members.
    type: str
    choices: [present, absent]
    default: present
  network_probe_image:
    description:
      - Image, with python3 in it, of the two pods by which it is found out whether the hub enforces network policies.
      - They run for some seconds in C(tenantry-system), in each run until it is so once. A warning tells if it is not.
      - Empty means that it is not found out.
    type: str
    default: docker.io/tenantry/syncer:0.1.0
  wait_timeout:
    description: Seconds to wait until everything is gone, with O(state=absent).
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Make a cluster the hub
  tenantry.kube.platform:
    kubeconfig: ~/.kube/hub.yaml

- name: Remove the platform from it
  tenantry.kube.platform:
    kubeconfig: ~/.kube/hub.yaml
    state: absent
"""

RETURN = r"""
identity:
  description: UID of the hub's namespace C(kube-system), by which it is told from every other cluster.
  returned: O(state=present)
  type: str
  sample: 6d8b1a2f-52b6-4bb7-a8c5-2f1a1b1b6a11
server:
  description: Address of the hub's API server.
  returned: O(state=present)
  type: str
  sample: https://10.213.0.11:6443
version:
  description: Kubernetes version of the hub.
  returned: O(state=present)
  type: str
  sample: v1.34.4+k3s1
actions:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: dict
  sample: [{action: create, kind: Namespace, name: tenantry-system}]
results:
  description: The same as a list of one, as the modules for several items return it.
  returned: always
  type: list
  elements: dict
"""

from ansible_collections.tenantry.kube.plugins.module_utils._fleet import network_policy_probe as _network_probe
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.hub import run
from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec
from ansible_collections.tenantry.kube.plugins.module_utils._module import main as run_module

OPTIONS = {"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}}


def main() -> None:
    spec = argument_spec(**OPTIONS, **_network_probe.OPTION, wait_timeout={"type": "int", "default": 120})
    run_module(spec, run, item_options=OPTIONS, key=())


if __name__ == "__main__":
    main()
