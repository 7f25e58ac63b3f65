"""The images that the conformance tests ask for."""

from __future__ import annotations

from tests.conformance import parts


def test_tags_are_those_of_the_tests_own_list() -> None:
    manifest = """
        configs[Agnhost] = Config{list.PromoterE2eRegistry, "agnhost", "2.66.1"}
        configs[AgnhostPrev] = Config{list.PromoterE2eRegistry, "agnhost", "2.55"}
        configs[VolumeNFSServer] = Config{list.PromoterE2eRegistry, "volume/nfs", "1.6.0"}
    """
    assert parts.tags(manifest) == {"agnhost": ["2.66.1", "2.55"], "volume/nfs": ["1.6.0"]}
