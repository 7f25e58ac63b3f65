#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: notices
short_description: Send notices about the fleet and its tenants
version_added: 0.1.0
description:
  - Sends each target what it should know in time, by a webhook or by mail. Run it every few minutes, by cron or an AWX
    schedule. The playbook C(report) runs it if C(tenantry_notices) is set.
  - Each target gets each notice once, over all runs. A ConfigMap C(notices-NAME) in C(tenantry-system) of the hub
    records which. A run claims a notice there before it sends it, so several runs may work at the same time.
  - A notice that certainly was not delivered is sent again by the next run. If nobody knows, because the run was killed
    or the connection broke before there was an answer, it is not sent again, and there is a warning.
  - A target that fails is a warning and in RV(failed_targets). It stops neither the run nor other targets.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes
  - tenantry.kube.attributes.actiongroup
  - tenantry.kube.query
attributes:
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: What is due depends on the time.
notes:
  - Besides the rights to read, it needs the right to create and change ConfigMaps in C(tenantry-system).
  - All notices that are due for a target are one message. If they are many, they are several.
  - A matter that has ended and begins again within an hour is the same one.
  - What has ended before the end of the quiet hours, or before the digest, is not sent.
  - Connections to webhooks with C(https://) go through the proxy of the environment (E(HTTPS_PROXY), E(NO_PROXY)).
    Redirects are not followed.
options:
  targets:
    description: Where notices go.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the target, by which the hub records what it was sent. A new name gets everything again.
        type: str
        required: true
      type:
        description:
          - Format of the messages. V(webhook) is JSON as C(docs/notices.md) of the collection describes.
          - V(teams) is for a webhook of Teams' app Workflows, V(alertmanager) for the path C(/api/v2/alerts).
        type: str
        required: true
        choices: [webhook, slack, teams, alertmanager, mail]
      tenant:
        description: Only notices about this tenant. Without it, the target is for operations and gets all.
        type: str
      kinds:
        description:
          - Only notices of these kinds. Defaults to all.
          - V(member) is not possible with O(targets[].tenant).
        type: list
        elements: str
        choices: [ttl, sleep, quota, idle, credential, certificate, snapshot, member, request]
      url:
        description:
          - URL of the webhook, which is a secret. V(slack) and V(teams) require C(https://).
          - Required unless O(targets[].type=mail).
        type: str
      token:
        description: Bearer token for V(webhook) and V(alertmanager). A user and a password can be in the URL.
        type: str
      ca_path:
        description: File with the certificates of the CAs of the webhook. Defaults to those that the system trusts.
        type: path
      to:
        description: Mail addresses of the recipients. Required if O(targets[].type=mail).
        type: list
        elements: str
      quiet_hours:
        description: >-
          Periods in which nothing is sent, such as V(mon-fri 20:00-07:00) or V(sat,sun). What is still due is sent
          afterwards.
        type: list
        elements: str
        default: []
      digest:
        description: >-
          Time of the day, such as V('08:00') in quotes. There is one message a day then, by the first run after it.
        type: str
      timezone:
        description: Time zone of O(targets[].quiet_hours) and O(targets[].digest), such as V(Europe/Berlin).
        type: str
        default: UTC
  smtp:
    description: How mail is sent. Required if a target is of type V(mail).
    type: dict
    suboptions:
      host: {description: Name of the mail server., type: str, required: true}
      port:
        description: Its port. Defaults to V(587), V(465) or V(25), by O(smtp.security).
        type: int
      from: {description: Mail address of the sender., type: str, required: true}
      security:
        description: Whether the connection is encrypted by C(STARTTLS), from the beginning, or not at all.
        type: str
        choices: [starttls, tls, none]
        default: starttls
      username: {description: 'User, if the server requires one.', type: str}
      password: {description: Password of the user. Not possible with O(smtp.security=none)., type: str}
      ca_path:
        description: File with the certificates of the CAs of the server. Defaults to those that the system trusts.
        type: path
  thresholds:
    description: When notices are due.
    type: dict
    suboptions:
      ttl: {description: How long before a virtual cluster is deleted., type: str, default: 3d}
      sleep:
        description: >-
          How long before a virtual cluster is paused. At most half of the time that it may be unused, if that is why.
        type: str
        default: 30m
      idle: {description: How long a virtual cluster is unused., type: str, default: 14d}
      credential:
        description: >-
          How long before a kubeconfig of a user, or the platform's credential for a member, expires. At most a third of
          the lifetime of a kubeconfig.
        type: str
        default: 14d
      certificate: {description: How long before certificates of a virtual cluster end., type: str, default: 21d}
      snapshot:
        description: How old the newest snapshot of a virtual cluster of tier V(prod) may be.
        type: str
        default: 7d
seealso:
  - module: tenantry.kube.usage_report
  - module: tenantry.kube.vcluster_housekeeping
"""

EXAMPLES = r"""
- name: Send operations everything, and a team what is about it
  tenantry.kube.notices:
    kubeconfig: ~/.kube/hub.yaml
    targets:
      - name: operations
        type: slack
        url: "{{ vault_slack_webhook }}"
      - name: payments
        type: mail
        tenant: payments
        kinds: [ttl, sleep, quota, request]
        to: [payments@example.com]
        quiet_hours: ['mon-fri 20:00-07:00', 'sat,sun']
        timezone: Europe/Berlin
    smtp:
      host: mail.example.com
      from: tenantry@example.com
      username: tenantry
      password: "{{ vault_smtp_password }}"

- name: Show what would be sent
  tenantry.kube.notices:
    kubeconfig: ~/.kube/hub.yaml
    targets:
      - {name: operations, type: alertmanager, url: 'http://alertmanager.monitoring.svc:9093/api/v2/alerts'}
  check_mode: true
  register: due
"""

RETURN = r"""
notices:
  description: Each notice that a target has not got before this run.
  returned: success
  type: list
  elements: dict
  contains:
    target: {description: Name of the target., type: str}
    state:
      description:
        - V(sent), or what would be sent in check mode.
        - V(held), because of the quiet hours or until the digest.
        - V(failed), so the next run tries again.
        - V(uncertain), because nobody knows whether it was delivered. It is not sent again.
      type: str
    kind: {description: 'Its kind, one of O(targets[].kinds).', type: str}
    level: {description: 'V(critical), V(warning) or V(note).', type: str}
    tenant: {description: The tenant. Empty for the fleet., type: str}
    about: {description: 'A member, a tenant, a virtual cluster or a user.', type: str, sample: payments/dev}
    text: {description: What is the matter with it., type: str}
    remedy: {description: What to do., type: str}
failed_targets:
  description: For each target that failed, the reason.
  returned: success
  type: dict
query_result:
  description: The part of the other return values that O(query) selects.
  returned: if O(query) is set
  type: raw
"""

from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec, run_info_module
from ansible_collections.tenantry.kube.plugins.module_utils._notices import reconcile
from ansible_collections.tenantry.kube.plugins.module_utils._notices.options import SMTP, TARGET, THRESHOLDS

OPTIONS: dict[str, dict[str, Any]] = {
    "targets": {"type": "list", "elements": "dict", "required": True, "options": TARGET},
    "smtp": {"type": "dict", "options": SMTP},
    "thresholds": {
        "type": "dict",
        "apply_defaults": True,
        "options": {name: {"type": "str", "default": usual} for name, usual in THRESHOLDS.items()},
    },
}


def main() -> None:
    run_info_module(argument_spec(**OPTIONS), reconcile.run)


if __name__ == "__main__":
    main()
