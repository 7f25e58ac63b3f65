# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    # The options of tenant_user that hold lists: several kubeconfigs of a user, and several users.
    DOCUMENTATION = r"""
options:
  oidc:
    description:
      - Who the user is at the OpenID Connect issuer that the virtual clusters trust, by
        O(tenantry.kube.vcluster#module:oidc).
      - The role is bound to that name. Tokens of the platform end, and kubeconfigs name a program that fetches the
        issuer's when they are needed; O(lifetime) and O(force) have no meaning then.
      - On the hub the role is bound too. It counts there if the hub's API server trusts the issuer.
    type: dict
    suboptions: &oidc
      username:
        description:
          - The value of the claim that is the user's name, without any prefix. This or C(group).
          - Without either, the user is none of the issuer's.
        type: str
      group:
        description: A group at the issuer, all of whose members are this user.
        type: str
      hub_prefix:
        description: What the hub's API server puts before the name.
        type: str
        default: 'oidc:'
      command:
        description: The program that a kubeconfig names, which writes a credential as C(kubectl) expects it.
        type: str
        default: kubectl
      args:
        description:
          - Its arguments. V({issuer_url}) and V({client_id}) stand for those of the virtual cluster. They are no place
            for a secret; whoever can list the processes of a user's machine can see them.
          - If not set, those of the plug-in oidc-login, V(oidc-login), V(get-token),
            V(--oidc-issuer-url={issuer_url}) and V(--oidc-client-id={client_id}).
        type: list
        elements: str
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
      oidc:
        description: Who the user is at an issuer.
        type: dict
        suboptions: *oidc
      hub_access:
        description: Whether the user's kubeconfigs have a context for the tenant's home namespace on the hub.
        type: bool
        default: false
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
