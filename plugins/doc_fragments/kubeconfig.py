# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - "Kubeconfig of the hub: the path of a file on the machine that runs the module, or the content as a dictionary.
        Ansible masks the credentials in a dictionary. Relative paths in it start at the working directory."
      - "If not set, the first of these is used: the file in the environment variable E(K8S_AUTH_KUBECONFIG); the server
        E(K8S_AUTH_HOST) with the token E(K8S_AUTH_API_KEY) or the client certificate in the files
        E(K8S_AUTH_CERT_FILE) and E(K8S_AUTH_KEY_FILE), and with the CA in the file E(K8S_AUTH_SSL_CA_CERT), as AWX's
        credential for a Kubernetes API sets them; the file in E(KUBECONFIG); the file C(~/.kube/config); the service
        account of the pod that the module runs in."
      - Its server must be an C(https://) address with verification and without a user.
    type: raw
  context:
    description:
      - Context of the kubeconfig to use. Its C(current-context) if not set.
      - If not set, the environment variable E(K8S_AUTH_CONTEXT) is used.
    type: str
  timeout:
    description:
      - Timeout of a single request to an API server, in seconds. The module retries the request if that is safe.
      - Also the limit for all requests to one virtual cluster together, not counting a tenth of a second of each. Then
        the run continues with the others. The first admission webhook there that fails ends them too.
    type: int
    default: 30
requirements:
  - kubernetes >= 31.0.0
  - urllib3 >= 2.0.0
  - PyYAML
notes:
  - Connections go through the proxy of the kubeconfig (C(proxy-url)) or of the environment
    (E(HTTPS_PROXY), E(NO_PROXY)). Connections to pods, as to virtual clusters, need one that begins with C(http://).
"""
