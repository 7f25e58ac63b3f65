# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Notices in the format of each type of target. Pure.

Tenants choose names and messages. In each format they are text: neither markup nor mentions nor links nor headers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import one_line
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import stamp
from ansible_collections.tenantry.kube.plugins.module_utils._notices.model import Notice
from ansible_collections.tenantry.kube.plugins.module_utils._notices.options import (
    ALERTMANAGER,
    MAIL,
    SLACK,
    TEAMS,
    WEBHOOK,
    Target,
)

FORMAT = 1
SOURCE = "tenantry.kube"
# Notices of one message: Slack allows 50 blocks, Teams 28 KB.
MOST = {WEBHOOK: 200, SLACK: 40, TEAMS: 20, ALERTMANAGER: 200, MAIL: 200}
_LONGEST_SUBJECT = 150
# An alert whose time is not known ends by itself after this time, since nobody sends it again.
_ALERT_LASTS = timedelta(days=1)


def title_of(notices: Sequence[Notice]) -> str:
    """Return a line for all of them: the only one, or their number."""
    if len(notices) == 1:
        return one_line(f"{notices[0].about} {notices[0].text}")
    about = sorted({one.about for one in notices})
    return one_line(f"{len(notices)} notices about {', '.join(about[:3])}{' and others' if len(about) > 3 else ''}")


def body_of(target: Target, notices: Sequence[Notice], now: datetime) -> bytes:
    """Return the body of the request to a webhook, which is JSON in every format."""
    make = {WEBHOOK: _webhook, SLACK: _slack, TEAMS: _teams, ALERTMANAGER: _alerts}[target.type]
    return json.dumps(make(target, notices, now)).encode()


def _webhook(target: Target, notices: Sequence[Notice], now: datetime) -> dict[str, Any]:
    found = [
        {
            "id": one.identity,
            "kind": one.kind,
            "level": one.level,
            "tenant": one.tenant or None,
            "about": one.about,
            "text": one_line(one.text),
            "remedy": one.remedy,
            "due": stamp(one.due) if one.due else None,
        }
        for one in notices
    ]
    return {"format": FORMAT, "source": SOURCE, "target": target.name, "time": stamp(now), "notices": found}


def _slack(_target: Target, notices: Sequence[Notice], _now: datetime) -> dict[str, Any]:
    """Return a message of plain text. Slack finds mentions and links in it only between < and >."""
    blocks = [
        {"type": "section", "text": {"type": "plain_text", "emoji": False, "text": _for_slack(one.line)}}
        for one in notices
    ]
    summary = _for_slack(f"{SOURCE}: {title_of(notices)}")
    return {"text": summary, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False, "blocks": blocks}


def _for_slack(text: str) -> str:
    return one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(_target: Target, notices: Sequence[Notice], _now: datetime) -> dict[str, Any]:
    """Return an adaptive card. A TextRun has no Markdown, as opposed to a TextBlock."""
    title = {"type": "TextRun", "text": _for_teams(f"{SOURCE}: {title_of(notices)}"), "weight": "Bolder"}
    lines = [{"type": "TextRun", "text": _for_teams(one.line)} for one in notices]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "RichTextBlock", "inlines": [run]} for run in (title, *lines)],
    }
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    }


def _for_teams(text: str) -> str:
    """Return the text without the beginning of a function such as {{DATE(...)}}, or of an expression of a template."""
    return one_line(text).replace("{", "(").replace("}", ")")


def _alerts(_target: Target, notices: Sequence[Notice], now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "labels": {
                "alertname": f"Tenantry{one.kind.capitalize()}",
                "severity": "info" if one.level == "note" else one.level,
                "about": one.about,
                "notice": one.identity,
                **({"tenant": one.tenant} if one.tenant else {}),
            },
            "annotations": {"summary": one_line(f"{one.about} {one.text}"), "description": one.remedy},
            "startsAt": stamp(now),
            "endsAt": stamp(max(one.due or now, now + _ALERT_LASTS)),
        }
        for one in notices
    ]


def mail_of(target: Target, sender: str, notices: Sequence[Notice], now: datetime, run: str) -> EmailMessage:
    """Return a mail of plain text."""
    message = EmailMessage(SMTP)
    message["From"] = sender
    message["To"] = ", ".join(target.to)
    message["Subject"] = f"[{SOURCE}] {title_of(notices)}"[:_LONGEST_SUBJECT]
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{run}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n\n".join(one_line(one.line) for one in notices) + f"\n\n-- \n{SOURCE}, {stamp(now)}\n")
    return message
