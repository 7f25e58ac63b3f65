#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_member
short_description: Join clusters to the fleet of a hub
version_added: 0.1.0
description:
  - Joins an existing Kubernetes cluster, at any cloud, to the fleet, so that virtual clusters can be placed on it.
  - The member gets a ServiceAccount with the rights the platform needs and no others. It may not read Secrets
    cluster-wide, and an admission policy lets it change the namespaces and role bindings of virtual clusters only.
  - Further ones keep all others from the platform's objects there, as on the hub (see M(tenantry.kube.platform)).
  - The credential of this ServiceAccount is kept in a Secret in the namespace C(tenantry-system) of the hub. It is
    renewed when less than a third of its lifetime is left.
  - The kubeconfig of the member's administrator is used during the run and not kept.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
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
      - V(present) joins the cluster, repairs what was changed on it and renews the credential in time.
      - V(absent) removes the platform from the cluster and the cluster from the fleet.
    type: str
    choices: [present, absent]
    default: present
  member_kubeconfig:
    description:
      - Kubeconfig file of an administrator of the member, with a token or a client certificate inside.
      - Its address and CA are what the platform reaches the member by from now on.
      - Required with O(state=present). Without it O(state=absent) needs O(force).
    type: path
  member_context:
    description: Context of O(member_kubeconfig) to use. Its C(current-context) if not set.
    type: str
  credential_lifetime:
    description: Lifetime of the platform's credential on the member, V(1d) to V(3650d). The API server may grant less.
    type: str
    default: 365d
  force:
    description:
      - Remove a member although virtual clusters are left on it, although it does not answer, or although
        O(member_kubeconfig) is not given. A warning says what remains on it.
      - Virtual clusters that are left keep running.
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
        description: Kubeconfig file of an administrator of the member.
        type: path
      member_context:
        description: Context of it to use.
        type: str
      credential_lifetime:
        description: Lifetime of the platform's credential.
        type: str
        default: 365d
      force:
        description: Remove it in spite of what is left on it.
        type: bool
        default: false
  network_probe_image:
    description:
      - Image, with python3 in it, of the two pods by which it is found out whether a member enforces network policies.
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
- name: Join a cluster at another cloud
  tenantry.kube.fleet_member:
    kubeconfig: ~/.kube/hub.yaml
    name: gcp-1
    member_kubeconfig: ~/.kube/gcp-1.yaml

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
      description: When the platform's credential expires, as granted. Empty if check mode foresees a new one.
      type: str
      returned: O(state=present)
      sample: '2027-03-01T12:00:00Z'
    error:
      description: Why this member could not be done. The others were.
      type: str
      returned: failure
"""

from ansible_collections.tenantry.kube.plugins.module_utils._fleet import network_policy_probe as _network_probe
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.members import run
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    argument_spec,
    items_option,
)
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    main as run_module,
)

OPTIONS = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "member_kubeconfig": {"type": "path"},
    "member_context": {"type": "str"},
    "credential_lifetime": {"type": "str", "default": "365d"},
    "force": {"type": "bool", "default": False},
}


def main() -> None:
    spec = argument_spec(
        **OPTIONS, members=items_option(OPTIONS), **_network_probe.OPTION, wait_timeout={"type": "int", "default": 120}
    )
    run_module(spec, run, list_option="members", item_options=OPTIONS, key="name")


if __name__ == "__main__":
    main()
