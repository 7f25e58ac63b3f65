# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    # What the pods of a virtual cluster may use and reach. Part of the fragment `vcluster`.
    DOCUMENTATION = r"""
options:
  resources:
    description:
      - Its part of the tenant's quota, as a hard limit, its own servers, syncers, etcd and agents included.
      - Resources that you omit default to what these need. With O(mode=shared), each server has a syncer, a pod with
        V(500m) of C(cpu) and V(128Mi) of C(memory).
      - O(mode=shared) requires C(cpu), C(memory) and C(pods).
      - What C(ephemeral_storage) and the following have counts if the quota names it, see
        O(tenantry.kube.tenant_quota#module:quota).
    type: dict
    suboptions:
      cpu: {description: Cores., type: str}
      memory: {description: Memory., type: str}
      storage: {description: Volumes., type: str}
      pods: {description: 'Pods on the host, with those of servers, syncers, etcd and agents.', type: int}
      ephemeral_storage:
        description:
          - Disk of the host's nodes that its pods may use together, for logs, for files of containers outside of
            volumes, and for C(emptyDir). Only with O(mode=shared).
          - Defaults to the needs of the servers, and V(1Gi) for each other pod. A container without a limit of
            C(ephemeral-storage) gets V(512Mi). The kubelet evicts a pod that uses more than its limits.
        type: str
      node_ports:
        description:
          - Number of node ports that its services of C(type) C(NodePort) and C(LoadBalancer) may have together, one for
            each of their ports. Only with O(mode=shared).
          - Defaults to the needs of O(expose), which are one with V(NodePort) and V(LoadBalancer), else none.
        type: int
      load_balancers:
        description:
          - Number of load balancers of the host that its services may have. Each also takes a node port for each of its
            ports, unless the service sets C(allocateLoadBalancerNodePorts) to V(false). Only with O(mode=shared).
          - Defaults to the needs of O(expose), which are one with V(LoadBalancer), else none.
        type: int
      extended:
        description:
          - Amount of each extended resource that its pods may request together, such as V(1) of C(nvidia.com/gpu), and
            of huge pages, such as V(64Mi) of C(hugepages-2Mi). Only with O(mode=shared).
          - Pods that request any other resource are rejected.
        type: dict
  cluster_cidr:
    description:
      - Network of its pods. Defaults to V(10.52.0.0/16). Must not overlap the host's networks. Cannot be changed.
      - Not for O(mode=shared), where pods have addresses of the host's network.
    type: str
  service_cidr:
    description:
      - Network of its services. Defaults to V(10.53.0.0/16). Must not overlap the host's. Cannot be changed.
      - With O(mode=shared), it is the host's own and detected by default.
    type: str
  network:
    description:
      - Exceptions from the network policies of its pods on the host. By default, pods reach each other, their API, DNS,
        and the world, except the host's own pods, services, nodes and API server, and clouds' metadata.
      - Each run detects the host's own networks. If nodes come and go, set O(network.egress_deny).
    type: dict
    suboptions:
      egress_allow:
        description: Networks to open, such as V(192.0.2.0/24), even if they are the host's.
        type: list
        elements: str
      egress_deny:
        description: Networks to close besides the detected ones. V(0.0.0.0/0) and V(::/0) close the whole world.
        type: list
        elements: str
      ingress_from:
        description:
          - Namespaces of the host, such as that of its ingress controller, and networks that may connect to the pods.
          - Other pods of the host cannot connect to the API, unless their namespace is listed here.
        type: list
        elements: str
  pod_security:
    description: Pod Security level of its pods on the host. Defaults to V(baseline). For O(mode=shared) only.
    type: str
    choices: [baseline, restricted]
  container_defaults:
    description:
      - Limits of containers without limits. A container with a higher request gets that as its limit.
      - Containers without requests get half of it as their requests. For O(mode=shared) only.
    type: dict
    suboptions:
      cpu: {description: 'Limit of processors, such as V(500m).', type: str, default: 100m}
      memory: {description: 'Limit of memory, such as V(512Mi).', type: str, default: 128Mi}
  storage_classes:
    description:
      - Storage classes of the host that claims may use, and that the virtual cluster shows. Defaults to all.
      - A run of the module updates what it shows. For O(mode=shared) only.
    type: list
    elements: str
  ingress_classes:
    description: Ingress classes of the host that ingresses may use. Defaults to none. For O(mode=shared) only.
    type: list
    elements: str
  ingress_hosts:
    description: Host names for O(ingress_classes), required with it. V(*.example.com) is any below it, V(*) is any.
    type: list
    elements: str
  ingress_implementation_specific_paths:
    description:
      - Whether ingresses may have paths of C(pathType) V(ImplementationSpecific), whose meaning the host's controller
        decides, and paths with a V(*). Defaults to V(false). For O(mode=shared) only.
    type: bool
  syncer_image:
    description:
      - Image of the syncer, with tag or digest. Required with O(mode=shared). The image is not published. Build it from
        the directory C(syncer) of the collection and push it to your registry.
      - Defaults to the environment variable E(TENANTRY_SYNCER_IMAGE).
    type: str
"""
