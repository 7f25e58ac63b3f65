# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module of this name, with its progress shown."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.plugin_utils._progress import ActionModule

__all__ = ["ActionModule"]
