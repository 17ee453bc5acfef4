"""Every guide begins with its table of contents, in the words its readers use."""

from __future__ import annotations

import re

import pytest
from docs.contents import anchor_of, contents
from docs.pages import GUIDES, LANGUAGES, filled, path

# Words that readers of a language stumble over, each with the one to use.
AVOIDED = {
    "zh": {"歌曲单": "歌曲信息", "热身": "预热", "模型版本": "模型变体"},
    "ko": {"곡 시트": "곡 정보", "입구": "방법", "반복으로": "루프로", "일마다": "작업마다"},
    "pt": {
        "faixa": "tier", "bateria completa": "suíte completa", "medidor": "profiler",
        "porta de entrada": "interface", "batidas por compasso": "tempos por compasso",
    },
}  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("guide", GUIDES)
def test_every_heading_is_linked(guide: str, language: str) -> None:
    page = path(guide, language).read_text("utf-8")
    outside = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{2,3} (.+)$", outside, re.MULTILINE)
    listed = page.split("<!-- contents:end -->")[0]
    assert len(headings) > 5
    assert re.findall(r"^ *- \[(.+)\]\(#.+\)$", listed, re.MULTILINE) == headings
    assert page == filled(page, language)


def test_anchors_are_those_of_github() -> None:
    assert anchor_of("Being a smaller card: `MAX_CUDA_VRAM`") == (
        "being-a-smaller-card-max_cuda_vram"
    )
    assert anchor_of("O que diz a tabela, então?") == "o-que-diz-a-tabela-então"
    twice = contents("## A b\n### C\n## A b\n```\n## no\n```\n#### deep\n")
    assert twice == "- [A b](#a-b)\n  - [C](#c)\n- [A b](#a-b-1)"


@pytest.mark.parametrize("language", AVOIDED)
@pytest.mark.parametrize("guide", GUIDES)
def test_words_are_those_of_the_field(guide: str, language: str) -> None:
    page = path(guide, language).read_text("utf-8").lower()
    words = re.sub(r"작업마다", "", page)
    assert {word: use for word, use in AVOIDED[language].items() if word in words} == {}
