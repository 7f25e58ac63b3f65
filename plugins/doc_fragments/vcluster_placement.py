# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    # The options of one virtual cluster that choose its host, which the fragment vcluster includes.
    DOCUMENTATION: str = r"""
options:
  placement:
    description:
      - By what the host of a new virtual cluster is chosen among the hub and all members. V({}) chooses without
        conditions. Without this option, a new one runs on O(host) or the hub.
      - A host must answer, have the mode, classes and nodes that the virtual cluster needs, and have its O(resources)
        free of what is allocatable there, promised to other virtual clusters and requested by other pods.
        C(placement) in the result explains the choice.
      - Ignored for a virtual cluster that exists, which stays where it is, and with O(host).
    type: dict
    suboptions:
      match_labels:
        description:
          - Labels that the host must have, see O(tenantry.kube.fleet_member#module:labels) and
            O(tenantry.kube.platform#module:labels).
        type: dict
      tolerations:
        description: Taints that the host may have, see O(tenantry.kube.fleet_member#module:taints).
        type: list
        elements: dict
        suboptions:
          key:
            description: Key of the taint. Required unless O(placement.tolerations[].operator=Exists).
            type: str
          operator:
            description: Whether the value must be the same, or any taint with that key is tolerated.
            type: str
            choices: [Equal, Exists]
            default: Equal
          value: {description: Value of the taint. Empty if not set., type: str}
      spread_by:
        description:
          - Key of a label of hosts, such as V(region). Hosts with a value of it that has few virtual clusters of the
            same tenant are preferred.
        type: str
      weights:
        description:
          - Weights of the scores, V(-10) to V(10). Each host gets 0 to 100 of each score, and the host with the highest
            weighted sum is chosen, of several the first by name. A negative weight prefers the opposite.
        type: dict
        suboptions:
          allocatable_cpu:
            description: Percentage of the host's CPU that is neither promised nor requested then.
            type: int
            default: 1
          allocatable_memory: {description: The same of memory., type: int, default: 1}
          spread:
            description: 100 divided by one more than the number of virtual clusters of O(placement.spread_by).
            type: int
            default: 1
"""
