#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_user
short_description: Manage users of a tenant and their access to virtual clusters
version_added: 0.1.0
description:
  - Creates an identity for the user on the hub and in the tenant's virtual clusters, grants the rights of a role, and
    writes a kubeconfig with one context C(TENANT--VCLUSTER) for each virtual cluster that the user may enter.
  - A kubeconfig holds tokens that are bound to Secrets in the namespace C(tenantry-system) of each virtual cluster.
    Each kubeconfig has Secrets of its own. Deleting such a Secret revokes that one token within ten seconds.
  - The module renews a token when less than a third of its lifetime is left. It verifies the new one before it revokes
    the old one.
  - A change of role changes only RBAC. It takes effect on the next request with any existing kubeconfig.
  - O(state=absent) deletes the identities and so revokes all of their tokens. A later user of the same name inherits
    nothing, not even bindings that others created for the earlier one.
  - An administrator of a virtual cluster can create means of access there that outlast the user, such as a certificate,
    a binding for its name or a token of another account. The module warns of those that it finds
    (RV(results[].remains)).
  - To give users access to virtual clusters that were created later, run the module again.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.users
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes
  - tenantry.kube.attributes.actiongroup
attributes:
  idempotent:
    support: partial
    details: Not with O(force=true), which creates new tokens in each run.
options:
  tenant:
    description:
      - Name of the tenant.
      - Required unless O(users) is given.
    type: str
  name:
    description:
      - Name of the user, unique within the tenant. Lower-case letters, digits and single C(-).
      - Required unless O(users) is given.
    type: str
  role:
    description:
      - Role of the user. Required when O(state=present).
      - V(viewer) reads workloads, logs and events, but no Secrets.
      - V(developer) also manages workloads, reads and writes Secrets, runs commands in pods and forwards ports.
      - V(admin) may do everything in the virtual clusters.
      - V(platform_operator) operates the platform. In virtual clusters, such a user sees pods, services, events and
        nodes, but no logs and no Secrets. They manage namespaces, quotas and network policies on the whole hub.
    type: str
    choices: [viewer, developer, admin, platform_operator]
  access:
    description:
      - Virtual clusters that the user may enter. Defaults to all of the tenant's, with the role O(role).
      - In all others, the user has no rights and no identity.
    type: list
    elements: dict
    suboptions:
      vcluster:
        description: Name of the virtual cluster, without that of the tenant.
        type: str
        required: true
      role:
        description: Role in this virtual cluster. Defaults to O(role).
        type: str
        choices: [viewer, developer, admin, platform_operator]
  hub_access:
    description:
      - Whether the user's kubeconfigs have a context C(TENANT--hub) for the tenant's namespace on the hub, where
        users request virtual clusters, see M(tenantry.kube.vcluster_self_service). The hub's address is the one in
        O(kubeconfig).
      - The user may then also read the Secret C(kubeconfig-NAME) there.
      - Mutually exclusive with a user or group in O(oidc), who log in to the hub at the issuer.
    type: bool
    default: false
  state:
    description: Whether the user exists.
    type: str
    choices: [present, absent]
    default: present
  kubeconfig_path:
    description:
      - File for the user's kubeconfig, on the machine that runs the module, readable by its owner only.
      - Without this and O(kubeconfigs), the user gets no credentials.
      - O(state=absent) deletes the file.
    type: path
  purge_kubeconfigs:
    description: Whether to revoke all kubeconfigs of the user that are not in O(kubeconfig_path) or O(kubeconfigs).
    type: bool
    default: false
  lifetime:
    description:
      - Lifetime of the tokens, V(1h) to V(365d).
      - The API server may grant less, see RV(results[].expires).
    type: str
    default: 30d
  force:
    description: Whether to replace the tokens of all given kubeconfigs. The old ones are revoked after that.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Give a developer access to all virtual clusters of a tenant
  tenantry.kube.tenant_user:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: bob
    role: developer
    kubeconfig_path: /srv/kubeconfigs/bob.yaml

- name: Create several users, one of them with access to only one virtual cluster
  tenantry.kube.tenant_user:
    kubeconfig: ~/.kube/hub.yaml
    users:
      - tenant: payments
        name: alice
        role: admin
        kubeconfig_path: /srv/kubeconfigs/alice.yaml
      - tenant: payments
        name: carol
        role: viewer
        access:
          - vcluster: stage
        kubeconfig_path: /srv/kubeconfigs/carol.yaml
        lifetime: 12h

- name: Create two more kubeconfigs, one for a program on the hub, and revoke a lost one
  tenantry.kube.tenant_user:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: bob
    role: developer
    kubeconfigs:
      - {name: laptop, path: /srv/kubeconfigs/bob-laptop.yaml, lifetime: 12h}
      - {name: ci, secret: {namespace: ci, name: bob}}
      - {name: phone, state: absent}

- name: Create a user and a group of the issuer of the virtual clusters
  tenantry.kube.tenant_user:
    kubeconfig: ~/.kube/hub.yaml
    users:
      - tenant: payments
        name: erin
        role: developer
        oidc: {username: erin@example.com}
        kubeconfig_path: /srv/kubeconfigs/erin.yaml
      - tenant: payments
        name: auditors
        role: viewer
        oidc: {group: auditors}

- name: Revoke all kubeconfigs of a user, but keep the user
  tenantry.kube.tenant_user:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: bob
    role: developer
    purge_kubeconfigs: true

- name: Remove a user, and end the client certificates that were signed in their virtual clusters
  tenantry.kube.tenant_user:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: bob
    state: absent
    kubeconfig_path: /srv/kubeconfigs/bob.yaml
    revoke_certificates: true
"""

RETURN = r"""
results:
  description: One row for each user.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the user.
      type: str
      returned: always
    tenant:
      description: Name of the tenant.
      type: str
      returned: always
    role:
      description: The user's role.
      type: str
      returned: O(state=present)
    vclusters:
      description: Virtual clusters that the user may enter, with host, role and context in the kubeconfig.
      type: list
      elements: dict
      returned: always
      sample: [{vcluster: dev, host: hub, role: developer, context: payments--dev}]
    pending_vclusters:
      description: Paused virtual clusters. The first run after they are resumed gives the user access.
      type: list
      elements: str
      returned: always
    remains:
      description:
        - Means of access to virtual clusters of which the user was an administrator, as the findings of
          M(tenantry.kube.tenant_user_info). The platform did not create them, and they outlast the user.
      type: list
      elements: dict
      returned: always
      sample: [{vcluster: dev, kind: ClusterRoleBinding, name: later, end: kubectl delete clusterrolebinding later}]
    kubeconfig:
      description: Path of the first kubeconfig in a file. Empty if none was requested, or if it would have no contexts.
      type: str
      returned: always
    kubeconfigs:
      description:
        - Each requested kubeconfig, with its C(path) or C(secret), and when the first of its tokens expires.
        - The name of that of O(kubeconfig_path) is derived from the path.
        - C(credential) is C(token), or C(oidc) for one that gets its tokens from the issuer.
      type: list
      elements: dict
      returned: always
      sample: [{name: laptop, path: /srv/bob.yaml, contexts: [payments--dev], expires: '2026-04-01T12:00:00Z'}]
    expires:
      description: When the first of all these tokens expires, as granted by the API server.
      type: str
      returned: always
      sample: '2026-04-01T12:00:00Z'
    changed:
      description: Whether anything was changed for the user.
      type: bool
      returned: always
    actions:
      description: What was changed on the hub, in the virtual clusters and on disk, or would be in check mode.
      type: list
      elements: dict
      returned: always
    error:
      description: What failed for this user. All else was done, unless O(users) has invalid items.
      type: str
      returned: failure
    not_done:
      description: Why this user was not processed although the item is valid. Other items are invalid.
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
from ansible_collections.tenantry.kube.plugins.module_utils._platform.oidc import COMMAND, PREFIX
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import ROLES
from ansible_collections.tenantry.kube.plugins.module_utils._users.reconcile import run

ROLE = {"type": "str", "choices": list(ROLES)}
STATE = {"type": "str", "choices": ["present", "absent"], "default": "present"}
NAME = {"type": "str", "required": True}
FORCE = {"type": "bool", "default": False}
OIDC = {
    "username": {"type": "str"},
    "group": {"type": "str"},
    "hub_prefix": {"type": "str", "default": PREFIX},
    "command": {"type": "str", "default": COMMAND},
    "args": {"type": "list", "elements": "str"},
}
KUBECONFIG = {
    "name": NAME,
    "path": {"type": "path"},
    "vault_password_file": {"type": "path", "no_log": False},  # where it is, not what
    "secret": {"type": "dict", "no_log": False, "options": {"namespace": NAME, "name": NAME}},
    "lifetime": {"type": "str"},
    "force": FORCE,
    "state": STATE,
}
OPTIONS: dict[str, dict] = {
    "tenant": NAME,
    "name": NAME,
    "role": ROLE,
    "access": {"type": "list", "elements": "dict", "options": {"vcluster": NAME, "role": ROLE}},
    "oidc": {"type": "dict", "options": OIDC},
    "hub_access": {"type": "bool", "default": False},
    "state": STATE,
    "kubeconfig_path": {"type": "path"},
    "kubeconfigs": {"type": "list", "elements": "dict", "options": KUBECONFIG},
    "purge_kubeconfigs": {"type": "bool", "default": False},
    "revoke_certificates": {"type": "bool", "default": False},
    "lifetime": {"type": "str", "default": "30d"},
    "force": FORCE,
}


def main() -> None:
    spec = argument_spec(**OPTIONS, users=items_option(OPTIONS))
    run_module(spec, run, list_option="users", item_options=OPTIONS, key=("tenant", "name"))


if __name__ == "__main__":
    main()
