"""A plugin of the collection within this process, with the options of its documentation, as Ansible's loader has it.

The loader itself finds collections by importing them anew, which it cannot once tests have imported them.
"""

from __future__ import annotations

import importlib
from typing import Any

import yaml
from ansible import constants

COLLECTION = "tenantry.kube"
BUILTIN = "ansible.builtin"


def load_plugin(kind: str, name: str, **arguments: Any) -> Any:
    """A new one of this kind, `inventory` or `lookup`."""
    code = importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.{kind}.{name}")
    full_name = f"{COLLECTION}.{name}"
    constants.config.initialize_plugin_configuration_definitions(kind, full_name, options_of(code.DOCUMENTATION))
    plugin = getattr(code, f"{kind.capitalize()}Module")(**arguments)
    plugin._load_name = plugin.ansible_name = full_name
    plugin._redirected_names = [full_name]
    return plugin


def options_of(text: str) -> dict[str, Any]:
    """Those of the fragments, and of the documentation itself."""
    documentation = yaml.safe_load(text)
    fragments = map(_fragment, documentation.get("extends_documentation_fragment", []))
    return {**{name: one for fragment in fragments for name, one in fragment.items()}, **documentation["options"]}


def _fragment(name: str) -> dict[str, Any]:
    if name.startswith(BUILTIN):
        module = f"ansible.plugins.doc_fragments.{name.removeprefix(BUILTIN + '.')}"
    else:
        module = f"ansible_collections.{COLLECTION}.plugins.doc_fragments.{name.removeprefix(COLLECTION + '.')}"
    return yaml.safe_load(importlib.import_module(module).ModuleDocFragment.DOCUMENTATION)["options"]
