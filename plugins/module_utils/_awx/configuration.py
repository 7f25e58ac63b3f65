# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module awx_configuration."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._awx.client import Controller
from ansible_collections.tenantry.kube.plugins.module_utils._awx.options import Options
from ansible_collections.tenantry.kube.plugins.module_utils._awx.reconcile import Reconciler
from ansible_collections.tenantry.kube.plugins.module_utils._awx.render import desired
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig, kubeconfig_option
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, Item, Row


def run(context: Context, _items: list[Item], options: Options) -> list[Row]:
    """Make the controller have the objects, and return a row for each."""
    stored = options.hub.inputs.get("kubeconfig", "")
    context.secret(stored, *kubeconfig_option.secrets({"hub_kubeconfig": kubeconfig.mapping(stored)}))
    if options.tenants and not options.sizes:
        context.warn(
            "sizes: is empty, so tenants get no job template that creates virtual clusters. Set tenantry_sizes"
        )
    reconciler = Reconciler(
        Controller(options.connection),
        check_mode=context.check_mode,
        update_secrets=options.update_secrets,
        wait_timeout=options.wait_timeout,
    )
    return reconciler.run(desired(options))
