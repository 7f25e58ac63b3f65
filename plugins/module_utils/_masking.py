# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values that Ansible masks in all output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible.module_utils.secrets import register_secrets
except ImportError:  # ansible-core before 2.22 masks what the module itself keeps
    register_secrets = None

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig_option


class MaskingModule(AnsibleModule):
    """A module that masks the credentials of kubeconfigs among its options.

    Ansible writes the options to the system log first of all, and returns them if they are invalid.
    """

    def _log_invocation(self) -> None:
        mask(self, kubeconfig_option.secrets(self.params))
        super()._log_invocation()

    def fail_json(self, msg: str, **kwargs: Any) -> Any:
        mask(self, kubeconfig_option.secrets(self.params))
        return super().fail_json(msg, **kwargs)


def mask(module: AnsibleModule, values: Iterable[str | None]) -> None:
    """Let Ansible mask these values in the result. None and the empty text are ignored."""
    given = [value for value in values if value]
    if register_secrets:
        register_secrets(given)
    else:
        module.no_log_values.update(given)
