# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flows of modules, for plugins: these run in Ansible's own process and have no AnsibleModule."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ansible.module_utils.basic import missing_required_lib
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import did_you_mean
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig_option
from ansible_collections.tenantry.kube.plugins.module_utils._masking import mask
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    LIBRARIES,
    Context,
    argument_spec,
    explained,
)

Result = TypeVar("Result")


class _Plugin:
    """What a Context needs of an AnsibleModule."""

    check_mode = False

    def __init__(self, params: dict[str, Any], warn: Callable[[str], None]) -> None:
        self.params = params
        self.warn = warn
        self.no_log_values: set[str] = set()  # from ansible-core 2.22 on, Ansible keeps them itself


def run(
    given: Mapping[str, Any], warn: Callable[[str], None], flow: Callable[[Context], Result], error: type[Exception]
) -> Result:
    """What the flow returns, on the hub that the connection options among those given name."""

    def do() -> Result:
        for library in LIBRARIES:
            _require(library)
        plugin = _Plugin(connection(given), warn)
        mask(plugin, kubeconfig_option.secrets(plugin.params))
        return flow(Context(plugin))

    return raising(do, error)


def raising(do: Callable[[], Result], error: type[Exception]) -> Result:
    """The result. Whatever goes wrong is an `error` of one line."""
    try:
        return do()
    except Exception as problem:
        raise error(str(explained(problem))) from None


def connection(given: Mapping[str, Any]) -> dict[str, Any]:
    """The connection options, checked and completed as a module's are, in plain types. Raises a TenantryError."""
    spec = argument_spec()
    options = {name: given[name] for name in spec if given.get(name) is not None}
    checked = ArgumentSpecValidator(spec).validate(options)
    if checked.error_messages:
        raise TenantryError("; ".join(checked.error_messages))
    return json.loads(json.dumps(checked.validated_parameters))  # without the marks of Ansible's own types


def require_known(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise a TenantryError for an option that Ansible would ignore."""
    names = sorted(known)
    for name in sorted(set(given) - set(names)):
        guess = did_you_mean(name, names)
        raise TenantryError(f"{name}: is no option{guess}. The options are {', '.join(names)}")


def _require(library: str) -> None:
    try:
        importlib.import_module(library)
    except ImportError:
        raise TenantryError(missing_required_lib(library)) from None
