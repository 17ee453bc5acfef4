"""The table, typed once more from the guide, beside the data."""

from __future__ import annotations

import pytest

from headroom.models.acestep.tiers import TIERS, lm_size, tier_of

GUIDE = """
tier1     -              -    pt    4/6   1/1 cpu+dit int8
tier2     -              -    pt    8/10  1/1 cpu+dit int8
tier3     0.6B           0.6B pt    8/10  1/2 cpu+dit int8
tier4     0.6B           0.6B vllm  8/10  2/4 cpu+dit int8
tier5     0.6B,1.7B      1.7B vllm  8/10  2/4 cpu     int8
tier6a    0.6B,1.7B      1.7B vllm  8/10  4/8 cpu     int8
tier6b    0.6B,1.7B,4B   1.7B vllm  8/8   4/8 none    -
unlimited 0.6B,1.7B,4B   4B   vllm  10/10 8/8 none    -
"""


def test_every_cell_is_the_published_one():
    rows = [line.split() for line in GUIDE.strip().splitlines()]
    assert [row[0] for row in rows] == [tier.name for tier in TIERS.rows]
    for row, tier in zip(rows, TIERS.rows, strict=True):
        lms = () if row[1] == "-" else tuple(row[1].split(","))
        assert (tier.lms, tier.recommended or "-", tier.backend) == (lms, row[2], row[3])
        assert "/".join(str(s // 60) for s in tier.seconds) == row[4]
        assert "/".join(map(str, tier.batch)) == row[5]
        assert (tier.offload, tier.quantization or "-") == (row[6], row[7])
        assert tier.compile and tier.init_lm == bool(lms)
        assert (tier.backends == "pt_mlx_only") == (tier.name in ("tier1", "tier2", "tier3"))


@pytest.mark.parametrize(
    ("size", "name"),
    [
        (0, "tier1"), (4, "tier1"), (4.01, "tier2"), (6, "tier2"), (6.01, "tier3"),
        (7.49, "tier3"), (7.5, "tier4"), (8, "tier4"), (11.49, "tier4"), (11.5, "tier5"),
        (12, "tier5"), (15.49, "tier5"), (15.6, "tier6a"), (16, "tier6a"), (19.5, "tier6b"),
        (20, "tier6b"), (23.49, "tier6b"), (23.5, "unlimited"), (24, "unlimited"),
        (80, "unlimited"),
    ],
)  # fmt: skip
def test_edges(size, name):
    assert tier_of(size).name == name


def test_a_tier_s_smallest_card_belongs_to_it():
    for tier in TIERS.rows:
        assert tier_of(tier.lower) == tier


def test_names():
    assert TIERS.named("tier6").name == "tier6b"
    with pytest.raises(KeyError, match="tier6a"):
        TIERS.named("tier7")
    assert [lm_size(n) for n in ("acestep-5Hz-lm-1.7B", "4b", "x")] == ["1.7B", "4B", None]
