# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    # Where snapshots are kept: as _vcluster.spec.options.STORE.
    DOCUMENTATION = r"""
options:
  directory:
    description:
      - Directory for snapshots on the machine that runs the module. Each virtual cluster has a folder C(TENANT--NAME)
        in it. Folders and files are readable by their owner only.
      - Mutually exclusive with O(bucket).
    type: path
  bucket:
    description:
      - Bucket of an S3-compatible object store for snapshots. It must exist.
      - Credentials are taken from the environment (E(AWS_ACCESS_KEY_ID), E(AWS_SECRET_ACCESS_KEY)), the file
        C(~/.aws/credentials) with E(AWS_PROFILE), a web identity (E(AWS_WEB_IDENTITY_TOKEN_FILE)), or the role of the
        machine. They cannot be options.
      - Mutually exclusive with O(directory).
    type: dict
    suboptions:
      name: {description: Its name., type: str, required: true}
      prefix: {description: Prefix of the names of all objects., type: str, default: ''}
      endpoint: {description: URL of the store. Defaults to that of AWS., type: str}
      region: {description: Region of the store., type: str}
requirements:
  - minio, for O(bucket)
"""
