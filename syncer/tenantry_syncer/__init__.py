"""The syncer of tenantry.kube: makes the pods of a virtual cluster ordinary pods of its namespace on the host."""
