# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    # For modules that only read.
    DOCUMENTATION = r"""
options:
  query:
    description:
      - JMESPath expression that selects a part of the return values, for RV(query_result).
      - Requires the Python package jmespath. U(https://jmespath.org) describes the language.
    type: str
"""
