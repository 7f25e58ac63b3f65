#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_user
short_description: Give people access to the virtual clusters of a tenant
version_added: 0.1.0
description:
  - Gives a person an identity on the hub and in the tenant's virtual clusters, the rights of a role, and a kubeconfig
    with one context for each virtual cluster the person may enter, called C(TENANT--VCLUSTER).
  - A kubeconfig holds tokens that are bound to Secrets in the namespace C(tenantry-system) of each virtual cluster.
    Each kubeconfig has Secrets of its own. Deleting such a Secret revokes that one token at once.
  - A token is renewed when less than a third of its lifetime is left. The API server has accepted the new one before
    the old one is revoked.
  - A change of role is a change of rights only. It counts from the next request of every kubeconfig handed out before.
  - With O(state=absent) the identities go, and with them every token of them. A user made again under the same name
    inherits nothing, bindings that others made for the old one included.
  - Virtual clusters that are made later are entered after the next run.
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
    details: Not with O(force=true), which makes new tokens each time.
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
      - What the user may do. Required with O(state=present).
      - V(viewer) reads workloads, logs and events, but no Secrets.
      - V(developer) also makes workloads, reads and writes Secrets, runs commands in pods and forwards ports.
      - V(admin) may do everything inside the virtual clusters.
      - V(operator) runs the platform. Inside, operators see pods, services, events and nodes, but no logs and no
        Secrets. They manage namespaces, quotas and network policies on the whole hub.
    type: str
    choices: [viewer, developer, admin, operator]
  access:
    description:
      - The virtual clusters the user may enter. All of the tenant's, in the role O(role), if not set.
      - In all others, the user has no rights and no identity.
    type: list
    elements: dict
    suboptions:
      vcluster:
        description: Name of the virtual cluster, without the tenant's.
        type: str
        required: true
      role:
        description: Role in this virtual cluster, if it is another.
        type: str
        choices: [viewer, developer, admin, operator]
  hub_access:
    description:
      - Whether the user's kubeconfigs have a context C(TENANT--hub) for the tenant's home namespace on the hub, where
        virtual clusters are asked for, see M(tenantry.kube.vcluster_self_service). The hub's address is the one in
        O(kubeconfig).
      - The user may then read the Secret C(kubeconfig-NAME) there too.
    type: bool
    default: false
  state:
    description: Whether the user exists.
    type: str
    choices: [present, absent]
    default: present
  kubeconfig_path:
    description:
      - Where to write the user's kubeconfig, on the machine that runs the module, readable by its owner only.
      - Without it and O(kubeconfigs) the user gets no credentials.
      - With O(state=absent) the file is removed.
    type: path
  purge_kubeconfigs:
    description: Revoke every kubeconfig of the user that is not asked for.
    type: bool
    default: false
  lifetime:
    description:
      - Lifetime of the tokens, V(1h) to V(365d).
      - The API server may grant less. RV(results[].expires) says what it granted.
    type: str
    default: 30d
  force:
    description: Make new tokens for all kubeconfigs asked for, and revoke the old ones when the new ones are in place.
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
    kubeconfig_path: /srv/handout/bob.yaml

- name: Several users, one of them with access to one virtual cluster only
  tenantry.kube.tenant_user:
    kubeconfig: ~/.kube/hub.yaml
    users:
      - tenant: payments
        name: alice
        role: admin
        kubeconfig_path: /srv/handout/alice.yaml
      - tenant: payments
        name: carol
        role: viewer
        access:
          - vcluster: stage
        kubeconfig_path: /srv/handout/carol.yaml
        lifetime: 12h

- name: Two more kubeconfigs, one for a program on the hub; the lost one is revoked
  tenantry.kube.tenant_user:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: bob
    role: developer
    kubeconfigs:
      - {name: laptop, path: /srv/handout/bob-laptop.yaml, lifetime: 12h}
      - {name: ci, secret: {namespace: ci, name: bob}}
      - {name: phone, state: absent}

- name: Somebody known to the issuer of the virtual clusters, and a group there
  tenantry.kube.tenant_user:
    kubeconfig: ~/.kube/hub.yaml
    users:
      - tenant: payments
        name: erin
        role: developer
        oidc: {username: erin@example.com}
        kubeconfig_path: /srv/handout/erin.yaml
      - tenant: payments
        name: auditors
        role: viewer
        oidc: {group: auditors}

- name: Revoke all of a user's kubeconfigs, leave the user
  tenantry.kube.tenant_user:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: bob
    role: developer
    purge_kubeconfigs: true

- name: Revoke everything a user has
  tenantry.kube.tenant_user:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: bob
    state: absent
    kubeconfig_path: /srv/handout/bob.yaml
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
      description: The virtual clusters the user may enter, with host, role, and the context in the kubeconfig.
      type: list
      elements: dict
      returned: always
      sample: [{vcluster: dev, host: hub, role: developer, context: payments--dev}]
    waiting:
      description: Virtual clusters that are paused, which the user enters by the first run after they are resumed.
      type: list
      elements: str
      returned: always
    kubeconfig:
      description: Path of the first kubeconfig in a file. Empty if none was asked for, or if there is nothing to enter.
      type: str
      returned: always
    kubeconfigs:
      description:
        - Each kubeconfig asked for, with its C(path) or C(secret), and when the first of its tokens expires.
        - That of O(kubeconfig_path) has a name made from the path.
        - C(credential) is C(token), or C(oidc) for one that fetches the issuer's.
      type: list
      elements: dict
      returned: always
      sample: [{name: laptop, path: /srv/bob.yaml, contexts: [payments--dev], expires: '2026-04-01T12:00:00Z'}]
    expires:
      description: When the first of all these tokens expires, as the API server granted it.
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
      description: What could not be done for this user. All else was.
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
OPTIONS = {
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
    "lifetime": {"type": "str", "default": "30d"},
    "force": FORCE,
}


def main() -> None:
    spec = argument_spec(**OPTIONS, users=items_option(OPTIONS))
    run_module(spec, run, list_option="users", item_options=OPTIONS, key=("tenant", "name"))


if __name__ == "__main__":
    main()
