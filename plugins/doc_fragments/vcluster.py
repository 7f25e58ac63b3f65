# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import re

import yaml
from ansible_collections.tenantry.kube.plugins.doc_fragments import vcluster_placement, vcluster_pods

# The options of one virtual cluster. Those of its pods and its placement are in files of their own.
ONE = r"""
options:
  tenant:
    description: Name of its tenant. Required unless O(vclusters) is given.
    type: str
  name:
    description:
      - Name of the virtual cluster. Lower-case letters, digits and single C(-). Required unless O(vclusters) is given.
      - The namespace is C(TENANT--NAME).
    type: str
  host:
    description:
      - Cluster of the fleet that hosts it, V(hub) or the name of a member. Cannot be changed.
      - Defaults to its current host, for a new one to V(hub) unless O(placement) chooses one.
    type: str
  state:
    description:
      - V(present) creates or updates it, and resumes a paused one. V(absent) deletes it with everything in it, its
        volume included.
      - V(paused) stops its server, its agents and, with O(mode=shared), its pods on the host. Its data, credentials and
        addresses stay. Its pods' resources return to the tenant's quota, see
        O(tenantry.kube.tenant_quota#module:paused_frees_quota). With O(mode=shared), pods without a controller are
        lost; a warning names them.
      - V(resumed) starts a paused one again, if the quota has room.
      - V(restarted) restarts server and agents in every run. With O(mode=shared), its pods keep running.
      - V(rotated) replaces the CAs of its k3s and, with three servers, the certificates of its own etcd. It does so in
        every run unless O(rotate_older_than) is set. Servers restart one after the other, agents too. With
        O(mode=shared), its pods keep running. Certificates of the former CAs are no longer accepted. Users need new
        kubeconfigs, see RV(results[].outdated_kubeconfigs).
      - V(paused), V(resumed), V(restarted) and V(rotated) require an existing virtual cluster, with a volume or
        O(datastore) unless it is V(resumed). All its other options stay unchanged.
    type: str
    choices: [present, absent, paused, resumed, restarted, rotated]
    default: present
  rotate_older_than:
    description:
      - Age from which O(state=rotated) replaces the CAs, V(1d) to V(3650d), such as V(180d). Younger ones stay, and the
        run changes nothing. Without it, every run replaces them.
      - A rotation that was interrupted is finished in any case.
      - Ignored unless O(state=rotated).
    type: str
  mode:
    description:
      - V(shared) runs its pods as unprivileged pods of its namespace on the host, within O(resources) and
        O(pod_security).
      - V(dedicated) gives it nodes of its own, which are B(privileged pods) on the host, root on the host's node.
      - Defaults to its current mode, for a new one to V(shared). Cannot be changed.
    type: str
    choices: [shared, dedicated]
  version:
    description:
      - Release of k3s, such as V(v1.37.2+k3s1). Required for O(state=present).
      - You can raise it by one minor version at a time, never lower it. The module first copies the data on the volume,
        see O(tenantry.kube.vcluster_snapshot#module:state).
    type: str
  servers:
    description:
      - Number of servers, V(1) or V(3). With V(3) the API keeps answering while one of them does not, and changes are
        applied to one after the other.
      - Three servers share O(datastore) or, if that is not set, their own etcd in separate pods, see O(etcd).
      - Can be changed only with O(datastore).
    type: int
    default: 1
  agents:
    description:
      - Number of nodes of its own. V(0) with O(mode=shared); with O(mode=dedicated), no pods run without any.
      - If the number is lowered, the module first drains the nodes that leave, within disruption budgets and
        O(wait_timeout).
    type: int
    default: 0
  server:
    description: Limits of the server's pod, and where it, its syncer and its member of etcd run.
    type: dict
    suboptions: &limits_and_place
      cpu: {description: Cores., type: str, default: '1'}
      memory: {description: Memory., type: str, default: 1Gi}
      node_selector:
        description: Labels that a node of the host must have to run it.
        type: dict
      tolerations:
        description: Tolerations of taints of the host's nodes, as in a pod.
        type: list
        elements: dict
      anti_affinity:
        description: Whether pods of this kind run on different nodes of the host if possible, or wait until they can.
        type: str
        choices: [preferred, required]
        default: preferred
      runtime_class: {description: RuntimeClass of the host., type: str}
  agent:
    description: Limits of each agent's pod, and where it runs. The node offers to pods what k3s itself does not need.
    type: dict
    suboptions:
      <<: *limits_and_place
      memory: {description: Memory., type: str, default: 2Gi}
  persistence:
    description: Storage of its data.
    type: dict
    suboptions:
      type:
        description:
          - V(pvc) is a volume, with O(servers=3) one for each member of O(etcd).
          - V(none) loses everything when the server's pod is replaced.
        type: str
        choices: [pvc, none]
        default: pvc
      size:
        description: Size of the volume. It can grow if the storage class allows it, and never shrink.
        type: str
        default: 5Gi
      storage_class: {description: Storage class. Defaults to the host's default. Cannot be changed., type: str}
  datastore:
    description:
      - A PostgreSQL or MySQL database for all data of k3s, instead of a volume. O(persistence) is ignored then.
      - Each virtual cluster needs a database of its own, in which k3s may create a table. k3s encrypts its certificates
        and keys there with the join token, so keep the Secret C(join-token) with the database's backups.
      - You can change user, password and parameters, which restarts the servers. You cannot change the database.
      - The module never deletes the database, even with O(state=absent).
    type: dict
    suboptions:
      endpoint:
        description:
          - V(postgres://USER:PASSWORD@HOST:5432/DATABASE) or V(mysql://USER:PASSWORD@tcp(HOST:3306\)/DATABASE).
          - Stored only in the Secret with k3s's configuration.
        type: str
        required: true
      ca:
        description: CA certificate of the database, as PEM. If set, the connection is encrypted and verified.
        type: str
      certificate: {description: 'Client certificate for the database, as PEM, with O(datastore.key).', type: str}
      key: {description: Private key of O(datastore.certificate)., type: str}
      networks:
        description:
          - Networks of the database, such as V(192.0.2.7/32), open to the servers and closed to the pods.
          - Not needed if O(datastore.endpoint) has an address, a Service of the host such as C(db.databases.svc), or a
            name outside of the host's networks.
          - A Service of the host must have a cluster IP. The resolvers of the host's nodes must know any other name.
        type: list
        elements: str
  etcd:
    description:
      - The etcd of O(servers=3) without O(datastore); ignored otherwise. It has a member for each server, with a stable
        name, a volume as in O(persistence), and the placement of O(server).
    type: dict
    suboptions:
      image:
        description: Image of the etcd project or of Kubernetes. etcd 3.6 or newer.
        type: str
        default: quay.io/coreos/etcd:v3.6.16
      cpu: {description: Cores of each member., type: str, default: 500m}
      memory: {description: Memory of each member., type: str, default: 512Mi}
  tier:
    description:
      - Priority on the host. When the host is full, V(prod) takes precedence over V(dev).
      - With V(prod), servers, agents and etcd request all of their limits.
      - With V(dev), agents and etcd request a quarter of the CPU and half of the memory. Servers request a twentieth of
        the CPU and a quarter of the memory, but at least V(50m) and V(256Mi).
    type: str
    choices: [dev, prod]
    default: dev
  durability:
    description:
      - V(full) waits for the disk with every change, so that acknowledged changes survive a loss of power.
      - V(normal) is k3s's own setting. Acknowledged changes survive the end of the server's process. The last ones may
        be lost if the host's machine loses power. Changes cost less.
      - Defaults to V(full) for O(tier=prod) and to V(normal) for O(tier=dev). Mutually exclusive with O(datastore), and
        with the etcd of O(servers=3), which always works like V(full).
    type: str
    choices: [full, normal]
  expose:
    description: How users reach the API.
    type: dict
    suboptions:
      type:
        description:
          - V(ClusterIP) is reachable only within the host cluster, V(NodePort) at the host's nodes.
          - V(LoadBalancer) is reachable at a load balancer of the host. The module waits for its address.
          - V(Ingress) and V(Route) (of OpenShift) are reachable by name, at port 443 of the host's ingress, which must
            support TLS passthrough. Set the namespace of its controller in O(network.ingress_from).
        type: str
        choices: [ClusterIP, NodePort, LoadBalancer, Ingress, Route]
        default: ClusterIP
      port:
        description: The node port, V(30000) to V(32767). Defaults to a free one.
        type: int
      address:
        description:
          - Address or DNS name by which users reach it. The certificate has this name and no other.
          - Defaults to a node's own address with V(NodePort), and to the load balancer's address with V(LoadBalancer).
          - DNS name of the V(Ingress) or V(Route). Required for these types. You must create the DNS record.
        type: str
      ingress_class:
        description: Ingress class of the host. Defaults to the host's default.
        type: str
      annotations:
        description:
          - Annotations of the Service of a V(LoadBalancer), of the V(Ingress), or of the V(Route).
          - An V(Ingress) defaults to those that make ingress-nginx pass TLS through.
        type: dict
  image:
    description:
      - Repository of the k3s image. Its tag follows from O(version).
      - A digest, such as V(rancher/k3s@sha256:HEX), selects exactly that image. It must contain O(version), so change
        both together. A restore or a return to another release uses the image of that tag without a digest.
    type: str
    default: rancher/k3s
  image_credentials:
    description: Credentials for the host to pull the images of server, agents and syncer. Tenants' pods get none.
    type: list
    elements: dict
    suboptions:
      registry: {description: 'The registry, such as V(registry.example.com:5000).', type: str, required: true}
      username: {description: User there., type: str, required: true}
      password: {description: Password or token., type: str, required: true}
  registries:
    description:
      - Mirrors and credentials for the agents' image pulls, as in the file C(registries.yaml) of k3s.
      - Ignored without agents. With O(mode=shared) the host pulls the images.
    type: dict
  k3s_config:
    description:
      - Keys for the configuration file of k3s, such as C(kube-apiserver-arg) or C(node-label), for server or agents.
      - Keys that the platform sets itself are rejected. C(disable) and admission plug-ins are added to the platform's.
      - A change restarts servers and agents.
    type: dict
  manifests:
    description:
      - Objects that k3s creates at its start and reconciles, 512 KiB at most. They may contain secrets.
      - Objects that you remove from the list stay until you delete them. A change of the list restarts the server.
    type: list
    elements: dict
  oidc:
    description:
      - An OpenID Connect issuer whose tokens authenticate users, besides those of the platform. Their rights come from
        O(tenantry.kube.tenant_user#module:oidc).
      - Names that begin with V(system:) or V(tenantry:) are rejected, regardless of the claims and prefixes set here.
      - The server connects to it under the same network policies as pods that connect to the outside. The resolvers of
        the host's nodes must know its name. If it is in a network of the host, open that with O(network.egress_allow).
      - A change restarts the server.
    type: dict
    suboptions:
      issuer_url:
        description: URL of the issuer, beginning with C(https://), exactly as in its tokens.
        type: str
        required: true
      client_id: {description: The required audience of tokens., type: str, required: true}
      username_claim: {description: Claim with the name of the user., type: str, default: sub}
      username_prefix:
        description: Prefix of that name, which makes it unique.
        type: str
        default: 'oidc:'
      groups_claim: {description: 'Claim with the user''s groups, such as V(groups). None if not set.', type: str}
      groups_prefix:
        description: Prefix of the name of each group.
        type: str
        default: 'oidc:'
      required_claims: {description: 'Required claims of a token, with their values as text.', type: dict}
      ca_file:
        description:
          - The CA of the issuer's certificate, as a PEM file on the machine that runs the module.
          - Defaults to the CAs in the image of k3s.
        type: path
  client_certificates:
    description:
      - Whether the servers accept client certificates that Kubernetes' CertificateSigningRequest API signs in the
        virtual cluster. Tokens, and certificates of k3s and its nodes, are accepted in any case.
      - An administrator of the virtual cluster can have a certificate signed for any name and group, including those
        that have all rights in k3s. It stays valid for up to 24 hours after that administrator was removed, unless
        O(tenantry.kube.tenant_user#module:revoke_certificates) ends it.
      - Turning it off takes effect within two minutes, without a restart. Turning it on replaces the CA and restarts
        the servers one by one. What was signed before is not accepted.
    type: bool
    default: false
  deletion_protection:
    description:
      - Whether to reject O(state=absent). The playbook C(housekeeping) does not delete it either, even after its
        O(ttl).
    type: bool
    default: false
  ttl:
    description:
      - Time from its creation, V(1h) to V(3650d), such as V(14d), after which the playbook C(housekeeping) deletes it.
      - If not set, it does not expire.
    type: str
  sleep:
    description:
      - When the playbook C(housekeeping) pauses it. O(state=resumed) and O(state=present) resume it.
      - Requires a volume or O(datastore), and C(idle) or C(schedule) or both.
    type: dict
    suboptions:
      idle:
        description:
          - Time without use, V(10m) to V(365d), such as V(2h), as exact as the interval between runs of the playbook.
          - Use is a request of one of its users, or a change of its workloads. A restart of its server counts too.
        type: str
      schedule:
        description:
          - Days and times, such as V(mon-fri 20:00-06:00), or V(sat,sun) for whole days.
          - At the end of a window, the playbook resumes it. If you resume it during a sleep window, it keeps running
            until the next window.
        type: list
        elements: str
      timezone: {description: 'Time zone of O(sleep.schedule), such as V(Europe/Berlin).', type: str, default: UTC}
  kubeconfig_path:
    description:
      - File for a kubeconfig of its administrator, readable by its owner only. None is written if not set.
      - It is valid for 30 days. A run in the last third of them renews it. O(state=absent) deletes it.
    type: path
"""


def documentation(options: dict) -> str:
    return yaml.safe_dump({"options": options})


OPTIONS: dict = yaml.safe_load(ONE)["options"]
for fragment in (vcluster_placement, vcluster_pods):
    OPTIONS |= yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"]
# The same as suboptions of another module, which must name the module of an option that it refers to.
ELSEWHERE: dict = yaml.safe_load(
    re.sub(r"\bO\((?!tenantry\.)", "O(tenantry.kube.vcluster#module:", documentation(OPTIONS))
)["options"]
DECIDED_BY_TENANTS = ("tenant", "name", "state", "rotate_older_than", "kubeconfig_path")


class ModuleDocFragment:
    DOCUMENTATION: str = documentation(
        {
            **OPTIONS,
            "vclusters": {
                "description": (
                    "Many virtual clusters in one call, created at the same time. Each item takes all options of this "
                    "module but those of the connection, O(wait), O(wait_timeout) and O(vclusters)."
                ),
                "type": "list",
                "elements": "dict",
                "suboptions": {
                    **OPTIONS,
                    "tenant": {"description": "Name of its tenant.", "type": "str", "required": True},
                    "name": {"description": "Name of the virtual cluster.", "type": "str", "required": True},
                },
            },
        }
    )

    # What administrators decide for the virtual clusters that tenants ask for.
    DEFAULTS: str = documentation(
        {
            "defaults": {
                "description": "Settings of all of them, as options of M(tenantry.kube.vcluster).",
                "type": "dict",
                "suboptions": {key: option for key, option in ELSEWHERE.items() if key not in DECIDED_BY_TENANTS},
            }
        }
    )
