"""The syncer of tenantry.kube: runs the pods of a virtual cluster as ordinary pods in its namespace on the host."""
