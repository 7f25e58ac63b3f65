#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: platform
short_description: Manage the platform on the hub
version_added: 0.1.0
description:
  - Installs the platform on a Kubernetes cluster, which becomes the hub. From it, tenants, users and virtual clusters
    are managed, on it and on the members that join it.
  - The hub gets the namespace C(tenantry-system), the four ClusterRoles C(tenantry:viewer), C(tenantry:developer),
    C(tenantry:admin) and C(tenantry:platform_operator), the ClusterRole C(tenantry:vcluster-manager), the
    PriorityClasses C(tenantry-dev) and C(tenantry-prod) for pods, C(tenantry-dev-server) and C(tenantry-prod-server)
    for servers and agents, the registry of the fleet, and admission policies.
  - By these policies, only the platform, administrators of the hub, Kubernetes itself and users with the verb C(manage)
    on C(platform.tenantry.dev) can change objects of the platform.
  - No pods of the platform stay on the hub, unless O(reconciler) is set. Those of O(network_probe_image) run for some
    seconds. The module never adopts a foreign object of the same name.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.host
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes
  - tenantry.kube.attributes.actiongroup
options:
  state:
    description:
      - V(present) creates missing objects and repairs changed ones.
      - V(absent) removes the platform. It fails while there are tenants or members.
    type: str
    choices: [present, absent]
    default: present
  labels:
    description:
      - Labels of the hub in the fleet, as O(tenantry.kube.fleet_member#module:labels) of a member.
      - If not set, it keeps those that it has. V({}) removes them.
    type: dict
  taints:
    description:
      - Taints of the hub in the fleet, as O(tenantry.kube.fleet_member#module:taints) of a member.
      - If not set, it keeps those that it has. V([]) removes them.
    type: list
    elements: dict
    suboptions:
      key: {description: Key of the taint., type: str, required: true}
      value: {description: Its value. Empty if not set., type: str}
  reconciler:
    description:
      - A Deployment C(reconciler) in C(tenantry-system) that processes the requests of tenants within seconds and runs
        playbooks on a schedule. Without it, run the playbooks C(self_service) and C(housekeeping) by cron or AWX. Both
        at once do no harm.
      - The Deployment has an account with the rights of the platform on a member, and the right to change users and
        their kubeconfigs in the namespaces of tenants. It reads the credentials of members.
      - If omitted, it is removed.
    type: dict
    suboptions:
      image:
        description:
          - Image of an execution environment with this collection, see C(execution-environment) in the repository.
          - Name it by digest where you can.
        type: str
        required: true
      inventory:
        description:
          - Content of an inventory file, YAML or JSON, with the group C(fleet_hub), one host with
            C(ansible_connection=local), and the variables of the playbooks. It is stored in a Secret.
          - The playbooks connect to the hub as the account of the pod, unless C(tenantry_kubeconfig) is among the
            variables.
        type: str
        required: true
      schedule:
        description:
          - The playbooks to run, at the start and then regularly.
          - Requests are processed when they change. A run of V(self_service) on the schedule repeats those that failed.
        type: list
        elements: dict
        default: [{playbook: self_service, every: 5m}, {playbook: housekeeping, every: 10m}]
        suboptions:
          playbook:
            description: Name of the playbook.
            type: str
            required: true
            choices: [self_service, housekeeping, report]
          every: {description: "Interval, such as V(10m). At least V(30s).", type: str, required: true}
      image_pull_secrets:
        description: Names of Secrets in C(tenantry-system) with credentials of the registry.
        type: list
        elements: str
        default: []
      dedicated:
        description:
          - Whether it may create virtual clusters of O(tenantry.kube.vcluster#module:mode=dedicated) on the hub. Their
            agents are privileged pods, so then a stolen credential of its account gives root on the hub's nodes.
          - It looks after existing ones in any case.
        type: bool
        default: false
      metrics_namespace:
        description:
          - Namespace of the hub whose pods, such as Prometheus, may read metrics of the reconciler. It serves them at
            C(/metrics), port 8080, without authentication. A network policy keeps other namespaces out.
          - With V(report) in O(reconciler.schedule), these include the metrics of the playbook C(report) about the
            whole fleet. They have the names of all tenants.
          - If not set, it serves none.
        type: str
      wait:
        description: Whether to wait, for O(wait_timeout) at most, until the Deployment serves requests.
        type: bool
        default: true
"""

EXAMPLES = r"""
- name: Install the platform on a cluster
  tenantry.kube.platform:
    kubeconfig: ~/.kube/hub.yaml

- name: Label the hub, and place virtual clusters on it only if they tolerate that
  tenantry.kube.platform:
    kubeconfig: ~/.kube/hub.yaml
    labels:
      region: eu
    taints:
      - key: hub

- name: Process requests of tenants within seconds
  tenantry.kube.platform:
    kubeconfig: ~/.kube/hub.yaml
    reconciler:
      image: registry.example.com/tenantry/execution-environment:0.1.0
      inventory: "{{ lookup('ansible.builtin.file', 'reconciler-inventory.yml') }}"

- name: Remove the platform from it
  tenantry.kube.platform:
    kubeconfig: ~/.kube/hub.yaml
    state: absent
"""

RETURN = r"""
identity:
  description: UID of the hub's namespace C(kube-system), which identifies the cluster.
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
  sample: v1.37.2+k3s1
labels:
  description: Labels of the hub in the fleet.
  returned: O(state=present)
  type: dict
taints:
  description: Taints of the hub in the fleet.
  returned: O(state=present)
  type: list
  elements: dict
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

from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_labels import OPTIONS as LABEL_OPTIONS
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.hub import run
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.hub_reconciler import OPTIONS as RECONCILER_OPTIONS
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.options import OPTIONS as HOST_OPTIONS
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.options import HostOptions
from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec
from ansible_collections.tenantry.kube.plugins.module_utils._module import main as run_module

OPTIONS: dict[str, dict] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **LABEL_OPTIONS,
    "reconciler": {"type": "dict", "options": RECONCILER_OPTIONS},
}


def main() -> None:
    spec = argument_spec(**OPTIONS, **HOST_OPTIONS)
    run_module(spec, run, options=HostOptions.of, item_options=OPTIONS, key=())


if __name__ == "__main__":
    main()
