#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_member
short_description: Manage members of the fleet
version_added: 0.1.0
description:
  - Joins an existing Kubernetes cluster, at any cloud, to the fleet, so that virtual clusters can run on it.
  - The member gets a ServiceAccount with only the rights that the platform needs. It may not read Secrets cluster-wide.
    An admission policy allows it to change only the namespaces and role bindings of virtual clusters.
  - More admission policies protect the platform's objects there, as on the hub (see M(tenantry.kube.platform)).
  - A Secret in the namespace C(tenantry-system) of the hub holds the credential of this ServiceAccount. The module
    renews it when less than a third of its lifetime is left.
  - The module uses the kubeconfig of the member's administrator during the run and does not store it.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.host
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes
  - tenantry.kube.attributes.actiongroup
options:
  name:
    description:
      - Name of the member in the fleet. C(hub) is the hub's own name.
      - Required unless O(members) is given.
    type: str
  state:
    description:
      - V(present) joins the cluster, repairs changed objects on it and renews the credential in time.
      - V(absent) removes the platform from the cluster and the cluster from the fleet.
    type: str
    choices: [present, absent]
    default: present
  member_kubeconfig:
    description:
      - Kubeconfig of an administrator of the member, the path of a file or a dictionary, with an embedded token or
        client certificate, or one that O(member_kubeconfig_trusted) is set for.
      - The platform uses its address and CA for the member from now on.
      - Required with O(state=present). Without it O(state=absent) needs O(force).
    type: raw
  member_kubeconfig_trusted:
    description:
      - Whether O(member_kubeconfig) may run a program to log in (C(exec)), as those of EKS, GKE and AKS do, and may
        refer to other files. The program runs on the machine that runs the module, as its user.
      - Set it for files of your own only.
    type: bool
    default: false
  member_context:
    description: Context of O(member_kubeconfig) to use. Its C(current-context) if not set.
    type: str
  credential_lifetime:
    description: Lifetime of the platform's credential on the member, V(1d) to V(3650d). The API server may grant less.
    type: str
    default: 365d
  labels:
    description:
      - Labels of the member in the fleet, such as its provider and region, by which
        O(tenantry.kube.vcluster#module:placement) selects it. They are not labels of its nodes.
      - If not set, it keeps those that it has. V({}) removes them.
    type: dict
  taints:
    description:
      - Taints of the member in the fleet, with the effect that Open Cluster Management calls C(NoSelect).
        O(tenantry.kube.vcluster#module:placement) selects the member for a new virtual cluster only if it tolerates
        each of them. Virtual clusters that exist, or that name it as O(tenantry.kube.vcluster#module:host), are not
        affected.
      - If not set, it keeps those that it has. V([]) removes them.
    type: list
    elements: dict
    suboptions:
      key: {description: 'Key of the taint, such as V(maintenance).', type: str, required: true}
      value: {description: Its value. Empty if not set., type: str}
  force:
    description:
      - Whether to remove a member that still has virtual clusters, that does not answer, or without
        O(member_kubeconfig). A warning lists the objects that remain on it.
      - Remaining virtual clusters keep running.
    type: bool
    default: false
  members:
    description: Many members in one call, each with the options above.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the member in the fleet.
        type: str
        required: true
      state:
        description: Whether it is in the fleet.
        type: str
        choices: [present, absent]
        default: present
      member_kubeconfig:
        description: Kubeconfig of an administrator of the member, a path or a dictionary.
        type: raw
      member_kubeconfig_trusted:
        description: Whether it may run a program, and refer to other files.
        type: bool
        default: false
      member_context:
        description: Context of it to use.
        type: str
      credential_lifetime:
        description: Lifetime of the platform's credential on it.
        type: str
        default: 365d
      labels:
        description: Its labels in the fleet.
        type: dict
      taints:
        description: Its taints in the fleet.
        type: list
        elements: dict
        suboptions:
          key: {description: Key of the taint., type: str, required: true}
          value: {description: Its value., type: str}
      force:
        description: Whether to remove it although objects remain on it.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Join a cluster at another cloud
  tenantry.kube.fleet_member:
    kubeconfig: ~/.kube/hub.yaml
    name: gcp-1
    member_kubeconfig: ~/.kube/gcp-1.yaml
    labels:
      provider: gcp
      region: eu

- name: Place no more virtual clusters on a member, unless they tolerate its maintenance
  tenantry.kube.fleet_member:
    kubeconfig: ~/.kube/hub.yaml
    name: gcp-1
    member_kubeconfig: ~/.kube/gcp-1.yaml
    taints:
      - key: maintenance

- name: Join two clusters
  tenantry.kube.fleet_member:
    kubeconfig: ~/.kube/hub.yaml
    members:
      - name: aws-1
        member_kubeconfig: ~/.kube/aws.yaml
        member_context: production
      - name: gcp-1
        member_kubeconfig: ~/.kube/gcp-1.yaml
        credential_lifetime: 90d

- name: Remove a cluster from the fleet
  tenantry.kube.fleet_member:
    kubeconfig: ~/.kube/hub.yaml
    name: gcp-1
    member_kubeconfig: ~/.kube/gcp-1.yaml
    state: absent
"""

RETURN = r"""
results:
  description: One row for each member.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the member.
      type: str
      returned: always
    changed:
      description: Whether anything was changed for it.
      type: bool
      returned: always
    actions:
      description: What was changed on the member and on the hub, or would be in check mode.
      type: list
      elements: dict
      returned: always
    server:
      description: Address of its API server.
      type: str
      returned: O(state=present)
    identity:
      description: UID of its namespace C(kube-system).
      type: str
      returned: O(state=present)
    version:
      description: Its Kubernetes version.
      type: str
      returned: O(state=present)
    expires:
      description: When the platform's credential expires, as granted. Empty if check mode predicts a new one.
      type: str
      returned: O(state=present)
      sample: '2027-03-01T12:00:00Z'
    labels:
      description: Its labels in the fleet.
      type: dict
      returned: O(state=present)
      sample: {provider: gcp, region: eu}
    taints:
      description: Its taints in the fleet.
      type: list
      elements: dict
      returned: O(state=present)
      sample: [{key: maintenance, value: ''}]
    error:
      description: Why this member failed. The others were processed, unless O(members) has invalid items.
      type: str
      returned: failure
    not_done:
      description: Why this member was not processed although the item is valid. Other items are invalid.
      type: str
      returned: failure
"""

from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_labels import OPTIONS as LABEL_OPTIONS
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.members import run
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.options import OPTIONS as HOST_OPTIONS
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.options import HostOptions
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    argument_spec,
    items_option,
)
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    main as run_module,
)

OPTIONS: dict[str, dict] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "member_kubeconfig": {"type": "raw"},
    "member_kubeconfig_trusted": {"type": "bool", "default": False},
    "member_context": {"type": "str"},
    "credential_lifetime": {"type": "str", "default": "365d"},
    **LABEL_OPTIONS,
    "force": {"type": "bool", "default": False},
}


def main() -> None:
    spec = argument_spec(**OPTIONS, members=items_option(OPTIONS), **HOST_OPTIONS)
    run_module(spec, run, options=HostOptions.of, list_option="members", item_options=OPTIONS, key="name")


if __name__ == "__main__":
    main()
