# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import re

import yaml


class ModuleDocFragment:
    # What one virtual cluster can be given, alone or as one of the list.
    DOCUMENTATION = r"""
options:
  tenant:
    description: The tenant it belongs to. Required unless O(vclusters) is given.
    type: str
  name:
    description:
      - Its name. Lower-case letters, digits and single C(-). Required unless O(vclusters) is given.
      - The namespace is C(TENANT--NAME).
    type: str
  host: &host
    description:
      - Cluster of the fleet it is on, V(hub) or the name of a member.
      - If not set, where it is already; a new one goes to the hub. It cannot be moved.
    type: str
  state: &state
    description:
      - V(present) makes it or changes it, and resumes one that is paused. V(absent) deletes it with everything in it,
        its volume included.
      - V(paused) stops its server, its agents and, with O(mode=shared), its pods on the host. Its data, credentials and
        addresses stay, its slice stays taken. Pods that no controller makes anew end with O(mode=shared); a warning
        names them.
      - V(restarted) restarts server and agents in every run. With O(mode=shared), its pods go on.
      - V(paused) and V(restarted) need a virtual cluster that exists and has a volume or O(datastore). All its other
        options stay as they were.
    type: str
    choices: [present, absent, paused, restarted]
    default: present
  mode: &mode
    description:
      - V(shared) makes its pods unprivileged pods of its namespace on the host, within O(slice) and O(pod_security).
      - V(dedicated) gives it nodes of its own, which are B(privileged pods) on the host, root on the host's node.
      - If not set, what it is already; a new one is V(shared). Cannot be changed.
    type: str
    choices: [shared, dedicated]
  version: &version
    description:
      - Release of k3s, such as V(v1.34.4+k3s1). Required for O(state=present).
      - Can be raised by one minor version at a time, never lowered. The data from before is kept on the volume first,
        see O(tenantry.kube.vcluster_snapshot#module:state).
    type: str
  servers: &servers
    description:
      - Number of servers, V(1) or V(3). With V(3) the API goes on answering while one of them does not, and changes
        come to one after the other.
      - Three share a datastore, O(datastore) or, where that is not set, an etcd of their own in pods beside them, see
        O(etcd).
      - With O(datastore) it can be changed at any time, without it never.
    type: raw
    default: 1
  agents: &agents
    description:
      - Number of nodes of its own. V(0) with O(mode=shared); with O(mode=dedicated), nothing runs without any.
      - With fewer than before, those that leave are drained first, as disruption budgets allow, within O(wait_timeout).
    type: int
    default: 0
  server: &server
    description: Limits of the server's pod, and where it runs.
    type: dict
    suboptions:
      cpu: {description: Cores., type: str, default: '1'}
      memory: {description: Memory., type: str, default: 1Gi}
      node_selector:
        description: Labels that a node of the host must have to run it.
        type: dict
      tolerations:
        description: Taints of the host's nodes that are no obstacle, each with the keys that it has in a pod.
        type: list
        elements: dict
      anti_affinity:
        description: Whether pods of this kind run on different nodes of the host if possible, or wait until they can.
        type: str
        choices: [preferred, required]
        default: preferred
      runtime_class: {description: RuntimeClass of the host to run it with., type: str}
  agent: &agent
    description: Limits of each agent's pod, and where it runs. What k3s does not need of it, the node offers to pods.
    type: dict
    suboptions:
      cpu: {description: Cores., type: str, default: '1'}
      memory: {description: Memory., type: str, default: 2Gi}
      node_selector:
        description: Labels that a node of the host must have to run it.
        type: dict
      tolerations:
        description: Taints of the host's nodes that are no obstacle, each with the keys that it has in a pod.
        type: list
        elements: dict
      anti_affinity:
        description: Whether pods of this kind run on different nodes of the host if possible, or wait until they can.
        type: str
        choices: [preferred, required]
        default: preferred
      runtime_class: {description: RuntimeClass of the host to run it with., type: str}
  persistence: &persistence
    description: Where its data is.
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
        description: Size of the volume. It grows in place where the storage class allows it, and never shrinks.
        type: str
        default: 5Gi
      storage_class: {description: Storage class on the host. Its default if not set. Cannot be changed., type: str}
  datastore: &datastore
    description:
      - A database of PostgreSQL or MySQL in which k3s keeps all that it knows, instead of a volume. O(persistence) has
        no effect then.
      - Each virtual cluster needs one of its own, and k3s the right to make a table in it. k3s encrypts its
        certificates and keys there with the join token, so keep the Secret C(join-token) with the database's backups.
      - User, password and parameters can be changed, which restarts the servers; which database it is cannot.
      - It is never deleted, with O(state=absent) neither.
    type: dict
    suboptions:
      endpoint:
        description:
          - V(postgres://USER:PASSWORD@HOST:5432/DATABASE) or V(mysql://USER:PASSWORD@tcp(HOST:3306\)/DATABASE).
          - It is kept in the Secret with k3s's configuration, and nowhere else.
        type: str
        required: true
      ca:
        description: Certificate of the CA of the database, as PEM. With it the connection is encrypted and verified.
        type: str
      certificate: {description: 'Client certificate for the database, as PEM, with O(datastore.key).', type: str}
      key: {description: Private key of O(datastore.certificate)., type: str}
      networks:
        description:
          - Networks in which the database is, such as V(192.0.2.7/32), opened for the servers and closed for the pods.
          - Not needed where O(datastore.endpoint) has an address, a Service of the host such as
            C(db.databases.svc), or a name outside of the host's networks.
        type: list
        elements: str
  etcd: &etcd
    description:
      - The etcd of O(servers=3) without O(datastore). Each server has a member of it beside it, which has a name that
        stays, a volume as O(persistence) says, and runs where O(server) says. Otherwise it has no effect.
    type: dict
    suboptions:
      image:
        description: Its image, as the etcd project or Kubernetes publishes it. etcd 3.6 or newer.
        type: str
        default: registry.k8s.io/etcd:3.6.5-0
      cpu: {description: Cores of each member., type: str, default: 500m}
      memory: {description: Memory of each member., type: str, default: 512Mi}
  slice: &slice
    description:
      - What it may use of the tenant's budget, its own server and agents included, as a hard limit.
      - What is not set is what server and agents need. O(mode=shared) requires C(cpu), C(memory) and C(pods).
    type: dict
    suboptions:
      cpu: {description: Cores., type: str}
      memory: {description: Memory., type: str}
      storage: {description: Volumes., type: str}
      pods: {description: Pods on the host., type: int}
  tier: &tier
    description: Priority on the host. V(prod) wins over V(dev) when the host is full, and holds all of its limits.
    type: str
    choices: [dev, prod]
    default: dev
  durability: &durability
    description:
      - V(full) waits for the disk with every change, so that what the API has acknowledged is there after a loss of
        power.
      - V(normal) is k3s's own. What was acknowledged outlives the server's process, but the last of it may be lost when
        the host's machine loses power. Changes cost less.
      - If not set, V(full) for O(tier=prod) and V(normal) for O(tier=dev). Not together with O(datastore), nor
        without it O(servers=3), whose etcd is always as V(full).
    type: str
    choices: [full, normal]
  expose: &expose
    description: How people reach the API.
    type: dict
    suboptions:
      type:
        description:
          - V(ClusterIP) is reached from inside the host cluster only, V(NodePort) at the host's nodes.
          - V(LoadBalancer) is reached at a load balancer of the host's, which is waited for.
          - V(Ingress) and V(Route) (of OpenShift) are reached by name, at port 443 of the host's ingress. TLS is passed
            through, which that must be able to. Name the namespace of its controller in O(network.ingress_from).
        type: str
        choices: [ClusterIP, NodePort, LoadBalancer, Ingress, Route]
        default: ClusterIP
      port:
        description: The node port, V(30000) to V(32767). A free one if not set.
        type: int
      address:
        description:
          - Address or DNS name by which people reach it. The certificate has it, and no other.
          - If not set, a node's own with V(NodePort), and what the load balancer says with V(LoadBalancer).
          - The DNS name of V(Ingress) and V(Route), required for these. To have it lead there is not our job.
        type: str
      ingress_class:
        description: Ingress class of the host. Its default if not set.
        type: str
      annotations:
        description:
          - Annotations of the Service of a V(LoadBalancer), of the V(Ingress), or of the V(Route).
          - If not set, an V(Ingress) has those by which ingress-nginx passes TLS through.
        type: dict
  image: &image
    description: Repository of the k3s image. Its tag follows from O(version).
    type: str
    default: rancher/k3s
  image_credentials: &image_credentials
    description: Credentials by which the host pulls the images of server, agents and syncer. No tenant's pod gets them.
    type: list
    elements: dict
    suboptions:
      registry: {description: 'The registry, such as V(registry.example.com:5000).', type: str, required: true}
      username: {description: User there., type: str, required: true}
      password: {description: Password or token., type: str, required: true}
  registries: &registries
    description:
      - Mirrors and credentials for the agents' image pulls, as in the file C(registries.yaml) of k3s.
      - Without agents it has no effect. With O(mode=shared) the host pulls the images.
    type: dict
  k3s_config: &k3s_config
    description:
      - Keys for the configuration file of k3s, such as C(kube-apiserver-arg) or C(node-label), for server or agents.
      - What the platform sets itself is refused. C(disable) and plug-ins of admission are added to the platform's.
      - Servers and agents are restarted when it changes.
    type: dict
  manifests: &manifests
    description:
      - Objects that k3s makes from its start on and keeps as they are given, 512 KiB at most. They may hold secrets.
      - What is taken off the list stays until somebody deletes it. The server is restarted when the list changes.
    type: list
    elements: dict
  oidc: &oidc
    description:
      - An OpenID Connect issuer whose tokens let people in, besides those of the platform. What they may do is a matter
        of O(tenantry.kube.tenant_user#module:oidc).
      - Names that begin with V(system:) or V(tenantry:) are refused from it, whatever claims and prefixes are.
      - The server reaches it as its pods reach the world. One in a network of the host's is opened by
        O(network.egress_allow).
      - The server is restarted when it changes.
    type: dict
    suboptions:
      issuer_url:
        description: Its address, beginning with C(https://), exactly as its tokens have it.
        type: str
        required: true
      client_id: {description: The audience that tokens must be for., type: str, required: true}
      username_claim: {description: Claim that is the name of the user., type: str, default: sub}
      username_prefix:
        description: What stands before that name, so that it is nobody else's.
        type: str
        default: 'oidc:'
      groups_claim: {description: 'Claim that has the user''s groups, such as V(groups). None if not set.', type: str}
      groups_prefix:
        description: What stands before the name of each group.
        type: str
        default: 'oidc:'
      required_claims: {description: 'Claims that a token must have, with their values as text.', type: dict}
      ca_file:
        description:
          - The CA of the issuer's certificate, as a PEM file on the machine that runs the module.
          - If not set, the CAs that the image of k3s has.
        type: path
  cluster_cidr: &cluster_cidr
    description:
      - Network of the pods inside, V(10.52.0.0/16) if not set. Must not overlap the host's networks. Cannot be changed.
      - Not for O(mode=shared), where pods have addresses of the host's network.
    type: str
  service_cidr: &service_cidr
    description:
      - Network of the services inside, V(10.53.0.0/16) if not set. Must not overlap the host's. Cannot be changed.
      - With O(mode=shared), it is the host's own, found out if not set.
    type: str
  network: &network
    description:
      - What its pods may reach and be reached by on the host beyond what always holds. That is each other, their API,
        DNS, and the world without the host's own pods, services, nodes and API server and without clouds' metadata.
      - What is the host's own is found out by every run. Where nodes come and go, give O(network.egress_deny).
    type: dict
    suboptions:
      egress_allow:
        description: Networks, such as V(192.0.2.0/24), that can be reached even where they are the host's.
        type: list
        elements: str
      egress_deny:
        description: Networks closed besides those found out. V(0.0.0.0/0) and V(::/0) close the whole world.
        type: list
        elements: str
      ingress_from:
        description:
          - Namespaces of the host, such as that of its ingress controller, and networks, whose packets reach the pods.
          - The API can be reached by these and by all that is not a pod of the host.
        type: list
        elements: str
  pod_security: &pod_security
    description: Pod Security level that pods must meet on the host, V(baseline) if not set. For O(mode=shared) only.
    type: str
    choices: [baseline, restricted]
  storage_classes: &storage_classes
    description: Storage classes of the host that claims may use, any if not set. For O(mode=shared) only.
    type: list
    elements: str
  ingress_classes: &ingress_classes
    description: Ingress classes of the host that ingresses may use, none if not set. For O(mode=shared) only.
    type: list
    elements: str
  ingress_hosts: &ingress_hosts
    description: Host names for O(ingress_classes), needed with it. V(*.example.com) is all below that domain, V(*) any.
    type: list
    elements: str
  syncer_image: &syncer_image
    description: Image, with tag or digest, of what makes pods pods of the host with O(mode=shared).
    type: str
    default: docker.io/tenantry/syncer:0.1.0
  deletion_protection: &deletion_protection
    description: While it is V(true), O(state=absent) is refused, and the playbook C(housekeeping) keeps it.
    type: bool
    default: false
  expires: &expires
    description:
      - Time from its creation, such as V(14d), after which the playbook C(housekeeping) deletes it.
      - If not set, it is kept.
    type: str
  sleep: &sleep
    description: When the playbook C(housekeeping) pauses it. It is resumed by O(state=present).
    type: dict
    suboptions:
      idle:
        description:
          - Time without use, such as V(2h), counted by the runs of the playbook and exact to their distance.
          - Use is a request of one of its users, or a change of its workloads. A restart of its server counts too.
        type: str
      schedule:
        description:
          - Days and times, such as V(mon-fri 20:00-06:00), or V(sat,sun) for whole days.
          - At the end of such a time, the playbook resumes what it had paused. Resumed by somebody earlier, it runs on.
        type: list
        elements: str
      timezone: {description: 'Time zone of O(sleep.schedule), such as V(Europe/Berlin).', type: str, default: UTC}
  kubeconfig_path: &kubeconfig_path
    description:
      - File for a kubeconfig of its administrator, written readable by its owner only. None is written if not set.
      - It is valid for 30 days and renewed by a run in the last third of them. With O(state=absent) it is deleted.
    type: path
  vclusters:
    description: Many virtual clusters in one call, each with the options above. They are made at the same time.
    type: list
    elements: dict
    suboptions:
      tenant: {description: The tenant it belongs to., type: str, required: true}
      name: {description: Its name., type: str, required: true}
      host: *host
      state: *state
      mode: *mode
      version: *version
      servers: *servers
      agents: *agents
      server: *server
      agent: *agent
      persistence: *persistence
      datastore: *datastore
      etcd: *etcd
      slice: *slice
      tier: *tier
      durability: *durability
      expose: *expose
      image: *image
      image_credentials: *image_credentials
      registries: *registries
      k3s_config: *k3s_config
      manifests: *manifests
      oidc: *oidc
      cluster_cidr: *cluster_cidr
      service_cidr: *service_cidr
      network: *network
      pod_security: *pod_security
      storage_classes: *storage_classes
      ingress_classes: *ingress_classes
      ingress_hosts: *ingress_hosts
      syncer_image: *syncer_image
      deletion_protection: *deletion_protection
      expires: *expires
      sleep: *sleep
      kubeconfig_path: *kubeconfig_path
"""

    # The same again as suboptions: what administrators decide for the virtual clusters that tenants ask for.
    _OPTIONS: dict = yaml.safe_load(re.sub(r"\bO\((?!tenantry\.)", "O(tenantry.kube.vcluster#module:", DOCUMENTATION))[
        "options"
    ]
    for _option in ("tenant", "name", "state", "kubeconfig_path", "vclusters"):
        del _OPTIONS[_option]
    DEFAULTS: str = yaml.safe_dump(
        {
            "options": {
                "defaults": {
                    "description": "What all of them have, in options of M(tenantry.kube.vcluster).",
                    "type": "dict",
                    "suboptions": _OPTIONS,
                }
            }
        }
    )
