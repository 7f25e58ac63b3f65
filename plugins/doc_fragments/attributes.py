# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    # For modules that change something; support is stated per attribute by the module where it differs.
    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what it would change, without changing anything.
    support: full
  diff_mode:
    description: Returns what changed, or would change, in C(diff) format. The content of Secrets is never shown.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
"""

    # For modules that only read.
    INFO = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode); it changes nothing in any mode.
    support: full
  diff_mode:
    description: Returns what changed in C(diff) format.
    support: N/A
    details: This module changes nothing.
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
"""

    # For modules that may take minutes, behind the action plugin that shows their progress.
    ASYNC = r"""
attributes:
  action:
    description: Has an action plugin, which shows the progress of the module. A task with C(async) shows none.
    support: full
  async:
    description: Can run in the background, by C(async) and C(poll).
    support: full
"""

    ACTIONGROUP = r"""
attributes:
  action_group:
    description: Use C(group/tenantry.kube.kube) in C(module_defaults) to set the connection options of all modules.
    support: full
    membership:
      - tenantry.kube.kube
"""
