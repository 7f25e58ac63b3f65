"""The lab: real machines and a real Kubernetes on one Linux computer, for the demo and the tests."""
