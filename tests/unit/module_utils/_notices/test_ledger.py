"""The record of what a target was sent."""

from __future__ import annotations

from datetime import timedelta

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._notices.ledger import CLAIM_LASTS, SAME_WITHIN, Ledger

from .._usage.fleet import NOW
from .facts import notice

SECOND = timedelta(seconds=1)
WHOLE = NOW.replace(microsecond=0)
KEY = notice().keys[0]


def sent() -> Ledger:
    return Ledger().claimed("run", [notice()], WHOLE, "").delivered("run")


def test_claimed_and_sent_notices_are_not_fresh() -> None:
    both = [notice(1), notice(2)]
    claimed = Ledger().claimed("run", both[:1], WHOLE, "")
    assert claimed.fresh(both) == claimed.delivered("run").fresh(both) == both[1:]


def test_released_notices_are_fresh_and_so_is_the_digest() -> None:
    before = Ledger(digest="2026-11-29")
    claimed = before.claimed("run", [notice()], WHOLE, "2026-11-30")
    assert claimed.digest == "2026-11-30"
    assert claimed.released("run") == before


def test_digest_without_notices_is_over_too() -> None:
    assert Ledger().claimed("run", [], WHOLE, "2026-11-30") == Ledger(digest="2026-11-30")


def test_claim_of_a_killed_run_is_as_if_sent() -> None:
    claimed = Ledger().claimed("run", [notice()], WHOLE, "")
    assert claimed.interrupted(WHOLE + CLAIM_LASTS) == (claimed, 0)
    assert claimed.interrupted(WHOLE + CLAIM_LASTS + SECOND) == (sent(), 1)


def test_times_of_a_clock_that_was_a_year_ahead_silence_nothing() -> None:
    year = timedelta(days=365)
    claimed = Ledger().claimed("run", [notice()], WHOLE + year, "")
    assert claimed.interrupted(WHOLE) == (sent(), 1)
    ended = sent().settled(frozenset(), frozenset(), WHOLE + year)
    assert ended.settled(frozenset(), frozenset(), WHOLE).sent == {KEY: WHOLE}
    assert Ledger(digest="2027-11-30").is_due("2026-11-30")
    # Clocks and time zones of controllers differ a little.
    soon = Ledger().claimed("run", [notice()], WHOLE + SECOND, "")
    assert soon.interrupted(WHOLE) == (soon, 0)
    days = ("", "2026-11-29", "2026-11-30", "2026-12-01", "2026-12-02")
    assert [Ledger(digest=day).is_due("2026-11-30") for day in days] == [True, True, False, False, True]


def test_matter_that_returns_soon_is_the_same_one() -> None:
    ended = sent().settled(frozenset(), frozenset(), WHOLE)
    assert ended.fresh([notice()]) == []
    again = ended.settled(frozenset({KEY}), frozenset(), WHOLE + timedelta(minutes=59))
    assert again == sent()
    # It ended once more: the hour begins anew.
    later = again.settled(frozenset(), frozenset(), WHOLE + timedelta(hours=2))
    assert later.settled(frozenset(), frozenset(), WHOLE + timedelta(hours=2, minutes=59)).sent


def test_matter_that_has_ended_for_an_hour_is_forgotten() -> None:
    ended = sent().settled(frozenset(), frozenset(), WHOLE)
    assert ended.settled(frozenset(), frozenset(), WHOLE + SAME_WITHIN - SECOND).sent
    assert ended.settled(frozenset(), frozenset(), WHOLE + SAME_WITHIN) == Ledger()


def test_matter_that_returns_after_an_hour_without_runs_is_another_one() -> None:
    ended = sent().settled(frozenset(), frozenset(), WHOLE)
    again = ended.settled(frozenset({KEY}), frozenset(), WHOLE + SAME_WITHIN)
    assert again.fresh([notice()]) == [notice()]
    # Of a kind that is not known, nobody knows whether it returned earlier.
    assert ended.settled(frozenset({KEY}), frozenset({"ttl"}), WHOLE + SAME_WITHIN) == sent()


def test_what_is_not_known_has_not_ended() -> None:
    """Its member does not answer."""
    assert sent().settled(frozenset(), frozenset({"ttl"}), WHOLE) == sent()
    ended = sent().settled(frozenset(), frozenset(), WHOLE)
    assert ended.settled(frozenset(), frozenset({"ttl"}), WHOLE + 2 * SAME_WITHIN) == ended


def test_text_is_the_ledger() -> None:
    found = sent().settled(frozenset(), frozenset(), WHOLE).claimed("other", [notice(2)], WHOLE, "2026-11-30")
    assert Ledger.of(found.as_text()) == found


def test_largest_fleet_fits_into_a_config_map() -> None:
    """Three notices about each of 1,000 virtual clusters with the longest names."""
    name = "x" * 61
    many = [notice(keys=(f"certificate {number:04}{name} 2026-11-30T09:00:00Z",)) for number in range(3000)]
    assert len(Ledger().claimed("run", many, WHOLE, "").delivered("run").as_text()) < 500_000


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"sent": [], "claims": {}, "digest": ""}'])
def test_damaged_text_sends_nothing_again(text: str) -> None:
    with pytest.raises(TenantryError, match="the record of what was sent is damaged"):
        Ledger.of(text)
