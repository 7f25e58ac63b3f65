# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    # For modules that install the platform on a host cluster, the hub or a member.
    DOCUMENTATION = r"""
options:
  network_probe_image:
    description:
      - Image with python3, for two pods that probe whether the cluster enforces network policies.
      - The pods run for some seconds in C(tenantry-system), in each run until a probe succeeds. The module warns if
        policies are not enforced.
      - You can use the image of the syncer. Defaults to the environment variable E(TENANTRY_SYNCER_IMAGE). Without an
        image, the module does not probe, and warns.
    type: str
  wait_timeout:
    description: Seconds to wait, such as until everything is gone with O(state=absent).
    type: int
    default: 120
"""
