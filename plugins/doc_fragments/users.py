# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    # The options of tenant_user that hold lists: several kubeconfigs of a user, and several users.
    DOCUMENTATION = r"""
options:
  oidc:
    description:
      - The user or group at the OpenID Connect issuer that the virtual clusters trust, see
        O(tenantry.kube.vcluster#module:oidc).
      - The role is bound to that name. The module revokes tokens of the platform, and kubeconfigs name a program that
        gets tokens of the issuer when needed. O(lifetime) and O(force) are ignored.
      - The role is bound on the hub too. This works if the hub's API server trusts the issuer.
    type: dict
    suboptions: &oidc
      username:
        description:
          - Value of the claim with the user's name, without any prefix. Mutually exclusive with C(group).
          - Without either, the user gets tokens of the platform.
        type: str
      group:
        description: Group at the issuer. All of its members have the rights of this user.
        type: str
      hub_prefix:
        description: Prefix that the hub's API server puts before the name.
        type: str
        default: 'oidc:'
      command:
        description: Program that a kubeconfig names, which writes a credential in the format that C(kubectl) expects.
        type: str
        default: kubectl
      args:
        description:
          - Its arguments. V({issuer_url}) and V({client_id}) stand for those of the virtual cluster. Do not put a
            secret here, because anyone who can list the processes of the user's machine sees it.
          - Defaults to those of the plug-in oidc-login, V(oidc-login), V(get-token),
            V(--oidc-issuer-url={issuer_url}) and V(--oidc-client-id={client_id}).
        type: list
        elements: str
  kubeconfigs:
    description:
      - More kubeconfigs of the user, each with credentials of its own, which are renewed and revoked separately.
      - Kubeconfigs that you remove from the list stay, unless O(purge_kubeconfigs=true).
    type: list
    elements: dict
    suboptions: &kubeconfigs
      name:
        description: Name of the kubeconfig, unique for the user, such as V(laptop).
        type: str
        required: true
      path:
        description:
          - File for it, on the machine that runs the module, readable by its owner only.
          - Mutually exclusive with C(secret). One of them is required unless it is V(absent).
        type: path
      vault_password_file:
        description: File with the password with which C(ansible-vault) encrypts the file at C(path).
        type: path
      secret:
        description: Secret on the hub for it, under the key C(kubeconfig), for a program that runs there.
        type: dict
        suboptions:
          namespace:
            description: Existing namespace on the hub. All who may read Secrets there get the rights of the user.
            type: str
            required: true
          name:
            description: Name of the Secret.
            type: str
            required: true
      lifetime:
        description: Lifetime of its tokens. Defaults to O(lifetime).
        type: str
      force:
        description: Whether to replace its tokens. The old ones are revoked after that.
        type: bool
        default: false
      state:
        description: V(absent) revokes it, and deletes the file or Secret if C(path) or C(secret) is given.
        type: str
        choices: [present, absent]
        default: present
  revoke_certificates:
    description:
      - Whether to end all client certificates that were signed in the virtual clusters of which the user was an
        administrator, including those that others requested. Otherwise they end within 24 hours.
      - Where O(tenantry.kube.vcluster#module:client_certificates) is on, the module replaces the CA of these
        certificates and restarts the servers one by one. It rejects a virtual cluster without a volume, which would
        lose its data. Kubeconfigs of the platform and certificates of k3s and its nodes stay valid.
      - Where it is off, no server accepts such certificates, and nothing restarts.
      - This also works for a former administrator who was removed or got another role in an earlier run.
      - Requires O(state=absent).
    type: bool
    default: false
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
        description: Role of the user.
        type: str
        choices: [viewer, developer, admin, platform_operator]
      access:
        description: Virtual clusters that the user may enter.
        type: list
        elements: dict
        suboptions:
          vcluster:
            description: Name of the virtual cluster, without that of the tenant.
            type: str
            required: true
          role:
            description: Role in this virtual cluster. Defaults to that of the user.
            type: str
            choices: [viewer, developer, admin, platform_operator]
      oidc:
        description: The user or group at an issuer.
        type: dict
        suboptions: *oidc
      hub_access:
        description: Whether the user's kubeconfigs have a context for the tenant's namespace on the hub.
        type: bool
        default: false
      state:
        description: Whether the user exists.
        type: str
        choices: [present, absent]
        default: present
      kubeconfig_path:
        description: File for the user's kubeconfig.
        type: path
      kubeconfigs:
        description: More kubeconfigs of the user.
        type: list
        elements: dict
        suboptions: *kubeconfigs
      purge_kubeconfigs:
        description: Whether to revoke all kubeconfigs of the user that are not given.
        type: bool
        default: false
      revoke_certificates:
        description:
          - Whether to end all client certificates that were signed in the virtual clusters of which the user was an
            administrator.
        type: bool
        default: false
      lifetime:
        description: Lifetime of the tokens.
        type: str
        default: 30d
      force:
        description: Whether to replace the tokens.
        type: bool
        default: false
"""
