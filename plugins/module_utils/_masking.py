# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values that Ansible masks in all output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible.module_utils.secrets import register_secrets
except ImportError:  # ansible-core before 2.22 masks what the module itself keeps
    register_secrets = None

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig_option

# Paths of secrets. One that is no file may be the secret itself.
_OF_SECRETS = ("vault_password_file",)


class MaskingModule(AnsibleModule):
    """A module that masks the credentials of kubeconfigs among its options, and what was given in place of a path.

    Ansible writes the options to the system log first of all, and returns them if they are invalid.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for option, value in _paths(self.params, self.argument_spec):
            if kubeconfig_option.is_content(value):
                self.fail_json(msg=f"{option}: is no path, but a text or a dictionary. Set the path of a file")

    def _log_invocation(self) -> None:
        self._mask_options()
        super()._log_invocation()

    def fail_json(self, msg: str, **kwargs: Any) -> Any:
        self._mask_options()
        return super().fail_json(msg, **kwargs)

    def _mask_options(self) -> None:
        mask(self, kubeconfig_option.secrets(self.params))
        for option, value in _paths(self.params, self.argument_spec):
            mask(self, kubeconfig_option.of_content(value))
            if option in _OF_SECRETS and not Path(value).is_file():
                mask(self, [value])


def _paths(params: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the options that take a path, at any depth, with their values: of any type before Ansible checked it."""
    for name, option in spec.items():
        value = params.get(name)
        for one in value if isinstance(value, list) else [value]:
            if "path" in (option.get("type"), option.get("elements")) and one is not None:
                yield name, str(one)
            elif isinstance(one, dict) and option.get("options"):
                yield from _paths(one, option["options"])


def mask(module: AnsibleModule, values: Iterable[str | None]) -> None:
    """Let Ansible mask these values in the result. None and the empty text are ignored."""
    given = [value for value in values if value]
    if register_secrets:
        register_secrets(given)
    else:
        module.no_log_values.update(given)
