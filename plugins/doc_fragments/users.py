# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    # The options of tenant_user that hold lists: several kubeconfigs of a user, and several users.
    DOCUMENTATION = r"""
options:
  kubeconfigs:
    description:
      - More kubeconfigs of the user, each with credentials of its own, renewed and revoked by themselves.
      - One that is not named here any more stays as it is, unless O(purge_kubeconfigs=true).
    type: list
    elements: dict
    suboptions: &kubeconfigs
      name:
        description: Tells it from the user's others, such as V(laptop).
        type: str
        required: true
      path:
        description: Where to write it, on the machine that runs the module, readable by its owner only.
        type: path
      vault_password_file:
        description: Have the file at the path encrypted by C(ansible-vault) with the password in this file.
        type: path
      secret:
        description: Write it to a Secret on the hub, under the key C(kubeconfig), for a program that runs there.
        type: dict
        suboptions:
          namespace:
            description: Namespace on the hub, which must exist. Who may read Secrets there can do what the user can.
            type: str
            required: true
          name:
            description: Name of the Secret.
            type: str
            required: true
      lifetime:
        description: Lifetime of its tokens, if it is another.
        type: str
      force:
        description: Make new tokens now, and revoke the old ones when the new ones are in place.
        type: bool
        default: false
      state:
        description: V(absent) revokes it, and removes it where its place is given.
        type: str
        choices: [present, absent]
        default: present
  users:
    description: Many users, of one or several tenants, in one call, each with the options above.
    type: list
    elements: dict
    suboptions:
      tenant:
        description: Name of the tenant.
        type: str
        required: true
      name:
        description: Name of the user.
        type: str
        required: true
      role:
        description: What the user may do.
        type: str
        choices: [viewer, developer, admin, operator]
      access:
        description: The virtual clusters the user may enter.
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
      state:
        description: Whether the user exists.
        type: str
        choices: [present, absent]
        default: present
      kubeconfig_path:
        description: Where to write the user's kubeconfig.
        type: path
      kubeconfigs:
        description: More kubeconfigs of the user.
        type: list
        elements: dict
        suboptions: *kubeconfigs
      purge_kubeconfigs:
        description: Revoke every kubeconfig of the user that is not asked for.
        type: bool
        default: false
      lifetime:
        description: Lifetime of the tokens.
        type: str
        default: 30d
      force:
        description: Make new tokens now.
        type: bool
        default: false
"""
