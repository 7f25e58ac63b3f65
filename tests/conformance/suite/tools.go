//go:build tools

// Package suite pins what is built from here: the end-to-end tests of Kubernetes, the programs in their images,
// and the runner of tests in parallel.
package suite

import (
	_ "github.com/onsi/ginkgo/v2/ginkgo"
	_ "k8s.io/kubernetes/test/e2e"
	_ "k8s.io/kubernetes/test/images/agnhost"
	_ "k8s.io/kubernetes/test/images/nonewprivs"
)
