#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_user_info
short_description: Look at users, what they may enter and the credentials they hold
version_added: 0.1.0
description:
  - Lists the users of tenants with their roles, and every credential that is out there, read live from inside the
    virtual clusters. No token is ever read or returned.
  - A virtual cluster that cannot be asked is told in RV(unreachable_vclusters); it does not fail the module.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes.info
  - tenantry.kube.attributes.actiongroup
options:
  tenant:
    description: Only users of this tenant.
    type: str
  name:
    description: Only users of this name.
    type: str
  audit_logs:
    description:
      - Audit logs of API servers of virtual clusters, as files on the machine that runs the module.
      - Kubernetes tells the last use of such a credential nowhere else. Without them,
        RV(users[].credentials[].last_used) is empty.
    type: list
    elements: path
    default: []
seealso:
  - module: tenantry.kube.tenant_user
"""

EXAMPLES = r"""
- name: Look at all users of a tenant
  tenantry.kube.tenant_user_info:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
  register: found

- name: Show the credentials that end within this month
  ansible.builtin.debug:
    msg: "{{ found.users | map(attribute='credentials') | flatten | selectattr('expires', 'lt', '2026-05-01') }}"
"""

RETURN = r"""
users:
  description: The users, by tenant and name.
  returned: success
  type: list
  elements: dict
  contains:
    tenant:
      description: The user's tenant.
      type: str
    name:
      description: The user's name.
      type: str
    role:
      description: The user's role.
      type: str
    access:
      description: The virtual clusters the user is limited to, with the role in each; empty if it is not limited.
      type: dict
      sample: {prod: viewer}
    oidc:
      description: Who the user is at an issuer, as the hub would know it; empty for one with tokens of the platform.
      type: str
      sample: user oidc:bob@example.com
    created:
      description: When the user was made.
      type: str
    vclusters:
      description: The virtual clusters the user can enter now, as their own API servers say.
      type: list
      elements: dict
      sample: [{vcluster: prod, host: hub, role: viewer}]
    credentials:
      description: The user's credentials, one for each kubeconfig and virtual cluster.
      type: list
      elements: dict
      contains:
        kubeconfig:
          description: Name of the kubeconfig, as M(tenantry.kube.tenant_user) has it.
          type: str
        vcluster:
          description: The virtual cluster it is for; V(hub) for the home namespace there.
          type: str
        host:
          description: The cluster of the fleet that one is on.
          type: str
        issued:
          description: When its token was issued, by the API server's clock.
          type: str
        requested_by:
          description: Who asked for it, by the name that the hub knew, as the run wrote it down.
          type: str
          sample: system:admin
        expires:
          description: When its token expires, as the API server granted it.
          type: str
        expired:
          description: Whether that has passed.
          type: bool
        secret:
          description: The Secret in C(tenantry-system) of the virtual cluster whose deletion revokes it.
          type: str
        credential_id:
          description: By this name the API server's audit log tells what was done with it.
          type: str
          sample: JTI=9a3c6f9e-3c1c-4a6e-8a3e-6d0c6f3b1f11
        last_used:
          description: Its last request in O(audit_logs).
          type: str
unreachable_members:
  description: For each member that could not be asked, why.
  returned: success
  type: dict
unreachable_vclusters:
  description: For each virtual cluster that could not be asked, why.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec, inform
from ansible_collections.tenantry.kube.plugins.module_utils._users import info as _user_info

OPTIONS = {
    "tenant": {"type": "str"},
    "name": {"type": "str"},
    "audit_logs": {"type": "list", "elements": "path", "default": []},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**OPTIONS), supports_check_mode=True)
    inform(module, lambda context: _user_info.run(context, *(module.params[option] for option in OPTIONS)))


if __name__ == "__main__":
    main()
