# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names of the annotations with what a virtual cluster may use of its host. Pure.

They are on its namespace, which admission policies see with each object. Only the platform changes them.
"""

from __future__ import annotations

# Names with commas between them, which no such name contains. No ingress where the first two are missing.
INGRESS_CLASSES = "tenantry.dev/ingress-classes"
INGRESS_HOSTS = "tenantry.dev/ingress-hosts"
# Any that the host has where it is missing, none where it is empty.
STORAGE_CLASSES = "tenantry.dev/storage-classes"
# Extended resources. Nodes that have them are often tainted by their names, and the host tolerates that for its pods.
EXTENDED = "tenantry.dev/extended-resources"
