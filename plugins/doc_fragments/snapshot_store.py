# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    # Where snapshots are kept: as _vcluster_options.STORE.
    DOCUMENTATION = r"""
options:
  directory:
    description:
      - Directory for snapshots on the machine that runs the module. Each virtual cluster has a folder C(TENANT--NAME)
        in it. Folders and files are made readable by their owner only.
      - It is this or O(bucket).
    type: path
  bucket:
    description:
      - Bucket of an S3-compatible object store for snapshots. It must exist.
      - Credentials are taken from the environment (E(AWS_ACCESS_KEY_ID), E(AWS_SECRET_ACCESS_KEY)), the file
        C(~/.aws/credentials) with E(AWS_PROFILE), or the role of the machine. They are not taken as options.
      - It is this or O(directory).
    type: dict
    suboptions:
      name: {description: Its name., type: str, required: true}
      prefix: {description: What the names of all objects begin with., type: str, default: ''}
      endpoint: {description: URL of the store. That of AWS if not set., type: str}
      region: {description: Region of the store., type: str}
requirements:
  - minio, for O(bucket)
"""
