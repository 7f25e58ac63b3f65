#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_user_info
short_description: Gather users, their access and their credentials
version_added: 0.1.0
description:
  - Lists the users of tenants with their roles and all of their credentials, read live from the virtual clusters. It
    neither reads nor returns tokens.
  - RV(unreachable_vclusters) lists virtual clusters that do not answer. They do not fail the module.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes.info
  - tenantry.kube.attributes.actiongroup
  - tenantry.kube.query
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
      - Nothing else in Kubernetes records the last use of such a credential. Without these logs,
        RV(users[].credentials[].last_used) is empty.
    type: list
    elements: path
    default: []
  findings:
    description:
      - Whether to search the virtual clusters for means of access that the platform did not create, and return them in
        RV(findings).
    type: bool
    default: true
seealso:
  - module: tenantry.kube.tenant_user
"""

EXAMPLES = r"""
- name: Gather all users of a tenant
  tenantry.kube.tenant_user_info:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
  register: found

- name: Gather the names of administrators
  tenantry.kube.tenant_user_info:
    kubeconfig: ~/.kube/hub.yaml
    query: users[?role=='admin'].name
  register: administrators

- name: Show the credentials that expire before May
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
      description: Virtual clusters to which the user is limited, with the role in each. Empty if not limited.
      type: dict
      sample: {prod: viewer}
    oidc:
      description: The user or group at the issuer, with the hub's prefix. Empty for a user with tokens of the platform.
      type: str
      sample: user oidc:bob@example.com
    created:
      description: When the user was created.
      type: str
    vclusters:
      description: Virtual clusters that the user can enter now, according to their own API servers.
      type: list
      elements: dict
      sample: [{vcluster: prod, host: hub, role: viewer}]
    credentials:
      description: The user's credentials, one for each kubeconfig and virtual cluster.
      type: list
      elements: dict
      contains:
        kubeconfig:
          description: Name of the kubeconfig, as in M(tenantry.kube.tenant_user).
          type: str
        vcluster:
          description: Its virtual cluster. V(hub) for the tenant namespace on the hub.
          type: str
        host:
          description: The cluster of the fleet on which that runs.
          type: str
        issued:
          description: When its token was issued, by the API server's clock.
          type: str
        requested_by:
          description: The requester, by their name on the hub, as recorded by the run.
          type: str
          sample: system:admin
        expires:
          description: When its token expires, as granted by the API server.
          type: str
        expired:
          description: Whether it has expired.
          type: bool
        secret:
          description: The Secret in C(tenantry-system) of the virtual cluster whose deletion revokes it.
          type: str
        credential_id:
          description: Id of the credential in the API server's audit log.
          type: str
          sample: JTI=9a3c6f9e-3c1c-4a6e-8a3e-6d0c6f3b1f11
        last_used:
          description: Its last request in O(audit_logs).
          type: str
findings:
  description:
    - Means of access to a virtual cluster, or to the requests of others there, that the platform did not create. An
      administrator of the virtual cluster can create them, and they outlast the user.
    - These are valid certificates as long as Kubernetes keeps their requests (an hour after approval), bindings (those
      that give a user more than is on record too), rules added to default roles, changed roles and policies of the
      platform, CAs and signing keys that the API server did not trust before, webhooks, conversions of custom
      resources, API services, admission policies, Helm charts of k3s, Secrets with tokens or bootstrap tokens, accounts
      in C(tenantry-system), and workloads and pods in C(tenantry-system), C(kube-system), C(kube-public) and
      C(kube-node-lease). Workloads that the manifests of the virtual cluster create there are among them. With mode
      C(dedicated) these are also namespaces that allow privileged pods.
    - At most 20 of each kind in each virtual cluster, from the first 10000 objects of that kind. If there are more
      objects, that is a finding with the name C(*).
    - Kubernetes does not store tokens that were requested for other accounts (C(kubectl create token)), so the module
      cannot list them. They end with their ServiceAccount.
  returned: success
  type: list
  elements: dict
  contains:
    tenant:
      description: The tenant.
      type: str
    vcluster:
      description: Its virtual cluster.
      type: str
    host:
      description: The cluster of the fleet on which that runs.
      type: str
    kind:
      description: Kind of the object.
      type: str
    namespace:
      description: Its namespace in the virtual cluster, if it has one.
      type: str
    name:
      description: Its name.
      type: str
    why:
      description: What access it gives.
      type: str
      sample: gives ClusterRole cluster-admin to User eve, in the whole virtual cluster
    expires:
      description: When it expires by itself, if ever.
      type: str
    end:
      description: How to end it, as a command in the virtual cluster if one suffices.
      type: str
      sample: kubectl delete clusterrolebinding later
findings_left_out:
  description: Number of further findings, for each virtual cluster with more than RV(findings) has.
  returned: success
  type: dict
unreachable_members:
  description: For each unreachable member, the reason.
  returned: success
  type: dict
unreachable_vclusters:
  description: For each unreachable virtual cluster, the reason.
  returned: success
  type: dict
query_result:
  description: The part of the other return values that O(query) selects.
  returned: if O(query) is set
  type: raw
  sample: [alice]
"""

from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec, run_info_module
from ansible_collections.tenantry.kube.plugins.module_utils._users import info

OPTIONS: dict[str, dict] = {
    "tenant": {"type": "str"},
    "name": {"type": "str"},
    "audit_logs": {"type": "list", "elements": "path", "default": []},
    "findings": {"type": "bool", "default": True},
}


def main() -> None:
    run_info_module(
        argument_spec(**OPTIONS), lambda context, given: info.run(context, *(given[option] for option in OPTIONS))
    )


if __name__ == "__main__":
    main()
