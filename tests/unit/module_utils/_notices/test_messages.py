"""Messages: what tenants choose is text in each format."""

from __future__ import annotations

import json
from email import message_from_bytes, policy
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._notices import messages

from .._usage.fleet import NOW
from .facts import DAYS, notice, target

# Markup, mentions, links, headers, functions, and what changes the direction of text.
HOSTILE = (
    "<!channel> <https://evil.example|pay> *b* [pay](https://evil.example) <b>x</b> & <script> "
    "{{DATE(2026-11-30T00:00:00Z)}} ${x} @{x}\r\nBcc: victim@example.com\r\n\r\n.\r\n\u202ebody\x00"
)


def hostile() -> Any:
    return notice(about="payments/dev", text=f"was denied: {HOSTILE}")


def body(kind: str, *notices: Any, **given: Any) -> Any:
    return json.loads(messages.body_of(target(type=kind, **given), notices or (hostile(),), NOW))


def strings(found: Any) -> list[str]:
    if isinstance(found, dict):
        return [text for one in found.values() for text in strings(one)]
    if isinstance(found, list):
        return [text for one in found for text in strings(one)]
    return [found] if isinstance(found, str) else []


@pytest.mark.parametrize("kind", ["webhook", "slack", "teams", "alertmanager"])
def test_no_control_characters_in_any_format(kind: str) -> None:
    for text in strings(body(kind)):
        assert text.isprintable(), text


def test_webhook() -> None:
    one = notice(due=NOW + DAYS)
    assert body("webhook", one) == {
        "format": 1,
        "source": "tenantry.kube",
        "target": "operations",
        "time": "2026-11-30T09:02:00Z",
        "notices": [
            {
                "id": one.identity,
                "kind": "ttl",
                "level": "warning",
                "tenant": "payments",
                "about": "payments/dev-1",
                "text": "expires soon",
                "remedy": "Raise its ttl",
                "due": "2026-12-01T09:02:00Z",
            }
        ],
    }


def test_slack_has_no_markup_of_others() -> None:
    found = body("slack")
    assert found["mrkdwn"] is False
    (block,) = found["blocks"]
    assert block["text"]["type"] == "plain_text"
    for text in (found["text"], block["text"]["text"]):
        assert "&lt;!channel&gt; &lt;https://evil.example|pay&gt;" in text
        assert not {*"<>"} & {*text}
    assert "&amp; &lt;script&gt;" in block["text"]["text"]


def test_teams_has_no_markup_of_others() -> None:
    """Only a TextBlock has Markdown."""
    content = body("teams")["attachments"][0]["content"]
    kinds = {one["type"] for one in content["body"]} | {
        run["type"] for one in content["body"] for run in one["inlines"]
    }
    assert kinds == {"RichTextBlock", "TextRun"}
    texts = [run["text"] for one in content["body"] for run in one["inlines"]]
    assert "[pay](https://evil.example)" in texts[1]
    assert not any({*"{}"} & {*text} for text in texts)


def test_largest_messages_are_within_the_limits() -> None:
    """Slack: 50 blocks, 3000 characters in each. Teams: 28 KB."""
    long = [notice(number, text="ä<" * 170) for number in range(40)]
    assert len(long) == messages.MOST["slack"] <= 50
    assert max(len(one["text"]["text"]) for one in body("slack", *long)["blocks"]) < 3000
    raw = messages.body_of(target(type="teams"), long[: messages.MOST["teams"]], NOW)
    assert len(json.dumps(json.loads(raw), ensure_ascii=False).encode()) < 28_000


def test_alerts_end_at_their_time_or_after_a_day() -> None:
    soon, later, fleet = notice(due=NOW), notice(due=NOW + 3 * DAYS), notice(tenant="", level="note")
    found = body("alertmanager", soon, later, fleet)
    assert [one["endsAt"] for one in found] == [
        "2026-12-01T09:02:00Z",
        "2026-12-03T09:02:00Z",
        "2026-12-01T09:02:00Z",
    ]
    assert found[0]["labels"] == {
        "alertname": "TenantryTtl",
        "severity": "warning",
        "about": "payments/dev-1",
        "notice": soon.identity,
        "tenant": "payments",
    }
    assert found[2]["labels"]["severity"] == "info"
    assert "tenant" not in found[2]["labels"]


def mail(*notices: Any) -> Any:
    made = messages.mail_of(target(type="mail"), "tenantry@example.com", notices, NOW, "run")
    return message_from_bytes(made.as_bytes(), policy=policy.default)


def test_mail_has_no_headers_and_no_markup_of_others() -> None:
    found = mail(hostile())
    assert sorted(found.keys()) == [
        "Auto-Submitted",
        "Content-Transfer-Encoding",
        "Content-Type",
        "Date",
        "From",
        "MIME-Version",
        "Message-ID",
        "Subject",
        "To",
    ]
    assert found.get_content_type() == "text/plain"
    assert found["To"] == "ops@example.com"
    text = found.get_content()
    assert "Bcc: victim@example.com . body" in text
    assert text.count("\n") == 4


def test_title_names_one_or_counts_many() -> None:
    assert mail(notice())["Subject"] == "[tenantry.kube] payments/dev-1 expires soon"
    assert mail(*map(notice, range(5)))["Subject"] == (
        "[tenantry.kube] 5 notices about payments/dev-0, payments/dev-1, payments/dev-2 and others"
    )


def test_long_subject_is_cut() -> None:
    assert len(mail(notice(text="x" * 500))["Subject"]) == 150
