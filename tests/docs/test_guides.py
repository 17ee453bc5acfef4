"""The guides say the same in every language, and what the code says."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from docs import pages, samples, words
from headroom.cli import four_gb, generate, profile, serve
from headroom.cli import plan as plan_command
from headroom.cli.main import COMMANDS
from headroom.memory.tiers import Tier
from headroom.models.acestep.requests.songs import TASKS
from headroom.models.acestep.tiers import TIERS, tier_of
from headroom.models.registry import family_named
from headroom.params.describe import union
from headroom.profiler.tiers.report import printed
from headroom.profiler.tiers.rows import TierRow, TierTest
from headroom.settings import POLICIES, declared
from support.guide_pages import (
    GUIDES,
    LANGUAGES,
    MANAGED,
    PROFILED,
    ROOT,
    commands,
    levels,
    part,
    path,
    rows,
    text,
    without_blocks,
)

PUBLISHED = (  # R68 to R101
    "--device --lm-backend --config-path --lm-model --offload-to-cpu --offload-dit-to-cpu "
    "--quantization --duration --batch-size --inference-steps --seed --guidance-scale --thinking "
    "--use-cot-metas --use-cot-caption --use-cot-language --use-constrained-decoding "
    "--no-constrained-decoding --lm-temperature --lm-cfg-scale --mode --no-warmup --detailed "
    "--llm-debug --benchmark-output --tiers --tier-with-lm --tier-skip-compile --tier-boundary "
    "--tier-batch-boundary --example --task-type --reference-audio --src-audio --sample-query "
    "--instrumental --audio-codes"
).split()
both = pytest.mark.parametrize("guide", GUIDES)
profiled = pytest.mark.parametrize("guide", PROFILED)
managed = pytest.mark.parametrize("guide", MANAGED)
each = pytest.mark.parametrize("language", LANGUAGES)
others = pytest.mark.parametrize("language", LANGUAGES[1:])


# --- languages ---------------------------------------------------------------------------------


@both
@each
def test_a_guide_begins_with_its_title_and_the_links(guide: str, language: str) -> None:
    title, empty, line, *_ = text(guide, language).splitlines()
    assert title.startswith("# ") and empty == ""
    targets = re.findall(r"\]\(([^)]+)\)", line)
    assert targets == [*(f"../{other}/{guide}.md" for other in LANGUAGES),
                       *(f"{name}.md" for name in GUIDES)]  # fmt: skip
    assert all((path(guide, language).parent / target).is_file() for target in targets)


@both
@others
def test_every_language_has_the_same_headings_parts_and_commands(guide: str, language: str) -> None:
    english, page = text(guide, "en"), text(guide, language)
    assert levels(page) == levels(english)
    assert len(levels(page)) > 6
    marker = re.compile(r"<!-- [\w-]+:(?:begin|end) -->")
    assert marker.findall(page) == marker.findall(english)
    assert [typed(c) for c in commands(page)] == [typed(c) for c in commands(english)]


def typed(command: object) -> str:
    """Without what a person would say in their own language."""
    return re.sub(r"--sample-query ('[^']*'|\S+)", "--sample-query …", str(command))


@both
@others
def test_every_language_has_words_of_its_own(guide: str, language: str) -> None:
    """No paragraph was left in English."""
    english, page = (without_blocks(text(guide, name)) for name in ("en", language))
    prose = {line for line in english.splitlines() if len(line.split()) > 6 and line[0] != "|"}
    assert prose and not prose & {*page.splitlines()}


# --- what is written by the program --------------------------------------------------------------


@both
@each
def test_writing_the_parts_again_changes_nothing(guide: str, language: str) -> None:
    page = text(guide, language)
    assert pages.filled(page, language) == page, "run `python scripts/docs`"


def test_the_table_of_the_readme_is_what_the_program_says() -> None:
    page = text(pages.README, "en")
    assert pages.filled(page, "en") == page, "run `python scripts/docs`"


def test_every_part_is_in_a_guide() -> None:
    guides = (pages.README, pages.DESIGN, *GUIDES)
    there = {name for guide in guides for name in pages.PART.findall(text(guide, "en"))}
    assert {name for name, _ in there} == {*pages.PARTS, pages.CONTENTS}


def test_the_design_draws_every_package_and_module() -> None:
    design = text(pages.DESIGN, "en")
    assert pages.filled(design, "en") == design, "stale: run `python scripts/docs`"
    assert pages.filled(design.replace("  planner.py  ", "  plans.py    "), "en") == design
    names = {file.name for file in (ROOT / "src").rglob("*.py")} - {"__init__.py"}
    assert "planner.py" in names
    assert {name for name in names if f" {name} " not in design} == set()


def test_a_part_that_says_something_else_is_put_right() -> None:
    page = text("GPU_COMPATIBILITY", "en")
    wrong = page.replace("| `tier4` | 0.6B |", "| `tier4` | 4B |")
    assert wrong != page and pages.filled(wrong, "en") == page


def test_the_program_says_what_is_stale_and_with_check_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text(text(pages.README, "en"), encoding="utf-8", newline="\n")
    (tmp_path / "docs").mkdir()
    design = text(pages.DESIGN, "en")
    (tmp_path / "docs" / "design.md").write_text(design, encoding="utf-8", newline="\n")
    for language in LANGUAGES:
        (tmp_path / "docs" / language).mkdir()
        for guide in GUIDES:
            copy = tmp_path / "docs" / language / f"{guide}.md"
            copy.write_text(text(guide, language), encoding="utf-8", newline="\n")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    main = runpy.run_path(str(ROOT / "scripts" / "docs" / "__main__.py"))["main"]
    monkeypatch.setattr(sys, "argv", ["docs", "--check"])
    assert main() == 0
    page = tmp_path / "docs" / "ko" / "BENCHMARK.md"
    whole = page.read_text(encoding="utf-8")
    page.write_text(whole.replace("`--tiers`", "`--sizes`"), encoding="utf-8", newline="\n")
    capsys.readouterr()
    assert main() == 1
    assert str(page) in capsys.readouterr().out
    assert "`--sizes`" in page.read_text(encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["docs"])
    assert main() == 0
    assert page.read_text(encoding="utf-8") == whole


def test_a_run_is_taken_from_the_file_of_the_profiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown is what the run printed, table by table."""
    rows_ = tuple(
        TierRow(size, tier, variant, False, 1, 30.0, "ok", model="m", simulated=True,
                offload=offload, quantization=converted, tile=64, frames=750, measured_peak=peak)
        for size, tier, variant, offload, converted, peak in (
            (4.0, "tier1", "default", "cpu+dit", "int8", 3 << 29),
            (4.0, "tier1", "no-quant", "cpu+dit", None, 3 << 30),
            (24.0, "unlimited", "default", "none", None, 6 << 30),
        )
    )  # fmt: skip
    test = TierTest(rows_, 1.0, boundary=True)
    file = tmp_path / "tiers.json"
    file.write_text(json.dumps({"mode": "tier-test", **test.json()}), encoding="utf-8")
    monkeypatch.setattr(samples, "FILE", tmp_path / "samples.json")
    assert samples.take(file) == "tier-test, boundary"
    whole = printed(test)
    assert samples.boundary(str).splitlines()[1:-1] == whole.split("\n\n")[1].splitlines()
    shown = samples.tier_test(str)
    assert "4GB     tier1" in shown and "3.0GB" not in shown and "6.0GB" in shown
    with pytest.raises(ValueError, match="understand"):
        file.write_text('{"mode": "understand"}', encoding="utf-8")
        samples.take(file)


# --- tiers ---------------------------------------------------------------------------------------

CARDS = "≤ 4|4–6|6–8|8–12|12–16|16–20|20–24|≥ 24".split("|")  # as they are published


@each
def test_the_table_of_tiers_is_the_published_one(language: str) -> None:
    """Read from the page, cell by cell, and held against the family's table."""
    none = words.words(language)("none")
    found = rows(part(text("GPU_COMPATIBILITY", language), "tiers"))
    assert [row[0] for row in found] == [f"{card} GB" for card in CARDS]
    for row, tier in zip(found, TIERS.rows, strict=True):
        assert row[1:] == cells(tier, none, row[8])
        assert (row[8] == tier.quantization) == (tier.quantization is not None)


def cells(tier: Tier, none: str, as_it_is: str) -> list[str]:
    """A row as a person would write it."""
    leaves = {"none": none, "cpu": "CPU", "cpu+dit": "CPU + DiT"}
    with_lm, without = (f"{seconds // 60}" for seconds in tier.seconds)
    return [
        f"`{tier.name}`", ", ".join(tier.lms) or none, tier.recommended or "—",
        f"`{tier.backend}`", f"{with_lm} / {without}", f"{tier.batch[0]} / {tier.batch[1]}",
        leaves[tier.offload], tier.quantization or as_it_is,
    ]  # fmt: skip


@each
def test_the_edges_of_the_tiers_are_where_cards_are_put(language: str) -> None:
    found = rows(part(text("GPU_COMPATIBILITY", language), "edges"))
    for quarter in range(2, 4 * 30):
        size = quarter / 4
        mine = [name for name, _, span in found if inside(size, span)]
        assert mine == [f"`{tier_of(size).name}`"], size


def inside(size: float, span: str) -> bool:
    """Whether a size is in `4 < GiB ≤ 6`."""
    low, high = span.replace(",", ".").split("GiB")
    above = not low or (size > float(low[:-2]) if "<" in low else size >= float(low[:-2]))
    below = not high or (size < float(high[2:]) if "<" in high else size <= float(high[2:]))
    return above and below


@each
def test_what_tiers_set_by_themselves_is_told_as_it_is(language: str) -> None:
    """The edges that the sentences name: where each default begins or ends."""
    page = without_blocks(text("GPU_COMPATIBILITY", language))
    _, _, section, *_ = page.split("\n## ")  # the second
    named = [{*re.findall(r"`(tier\w+)`", line)} for line in section.split("\n- ")]
    named = [tiers for tiers in named if tiers]
    first_lm = next(tier.name for tier in TIERS.rows if tier.init_lm)
    without_lm = {tier.name for tier in TIERS.rows if not tier.init_lm}
    last_small = [tier.name for tier in TIERS.rows if tier.backends == "pt_mlx_only"][-1]
    first_large = next(tier.name for tier in TIERS.rows if tier.backends == "all")
    last_offload = [tier.name for tier in TIERS.rows if tier.offload != "none"][-1]
    last_dit = [tier.name for tier in TIERS.rows if tier.offload == "cpu+dit"][-1]
    last_int8 = [tier.name for tier in TIERS.rows if tier.quantization == "int8"][-1]
    assert named == [
        {first_lm, *without_lm}, {last_small, first_large}, {last_offload, last_dit}, {last_int8},
    ]  # fmt: skip


# --- flags ---------------------------------------------------------------------------------------


def shown_flags(language: str) -> list[str]:
    table = part(text("BENCHMARK", language), "flags")
    return [flag for row in rows(table) for flag in re.findall(r"`(--[\w-]+)`", row[0])]


@each
def test_the_published_flags_and_all_of_the_profiler_are_in_the_table(language: str) -> None:
    there = shown_flags(language)
    assert len(there) == len({*there})
    assert {*PUBLISHED} <= {*there}
    params = tuple(p for p in union(TASKS.values()) if p.name != "audio_codes")
    fields = {param.name for param in params}
    own = [
        option
        for action in profile._parser(params)._actions
        for option in action.option_strings
        if action.dest not in fields and action.help != "==SUPPRESS==" and action.dest != "help"
    ]
    assert len(own) > 30 and [option for option in own if option not in there] == []


@each
def test_flags_have_the_words_of_the_language(language: str) -> None:
    """Every phrase of the tables is translated, and none is left over."""
    asked: list[str] = []
    known = words.words(language)

    def say(english: str) -> str:
        asked.append(english)
        return known(english)

    for write in pages.PARTS.values():
        write(say)
    assert {*words.phrases()} == {*asked}
    for english, phrase in words.phrases().items():
        assert {*phrase} - {"page"} == {*LANGUAGES}, english
        assert all(value.strip() for value in phrase.values())
        for other in LANGUAGES[1:]:
            assert code(phrase[other]) == code(phrase.get("page", english)), english
            if len(english.split()) > 1:
                assert phrase[other] != english


def code(phrase: str) -> list[str]:
    """What is no word of a language."""
    return sorted(re.findall(r"\{\}|`[^`]+`", phrase))


def test_a_phrase_without_a_translation_is_named() -> None:
    with pytest.raises(KeyError, match=r"words\.toml has no 'ko' for 'how it sings'"):
        words.words("ko")("how it sings")


def test_the_defaults_that_were_published() -> None:
    published = {
        "--device": "`auto`", "--lm-backend": "`auto`", "--lm-temperature": "`0.85`",
        "--lm-cfg-scale": "`2`", "--mode": "`profile`", "--tiers": "`4 6 8 12 16 20 24`",
        "--example": "`example_05.json`", "--thinking": "off", "--use-cot-metas": "off",
        "--use-constrained-decoding": "on", "--benchmark-output": "none", "--detailed": "off",
        "--task": "`text2music`", "--duration": "`120`, the example's",
    }  # fmt: skip
    table = rows(part(text("BENCHMARK", "en"), "flags"))
    found = {row[0].split(",")[0].strip("`"): row[2] for row in table}
    assert {flag: found[flag] for flag in published} == published
    assert "acestep-5Hz-lm-1.7B" in found["--lm-model"]


def test_modes_of_a_flag_are_those_the_program_takes_it_in() -> None:
    table = rows(part(text("BENCHMARK", "en"), "flags"))
    modes = {row[0].split(",")[0].strip("`"): row[4] for row in table}
    assert modes["--detailed"] == "`profile`"
    assert modes["--policy"] == "all but `tier-test`"
    assert modes["--caption"] == "`profile`, `benchmark`, `tier-test`, `format_sample`"
    assert modes["--device"] == "all"


# --- what is named in the text -------------------------------------------------------------------


def known_flags() -> set[str]:
    params = union(TASKS.values())
    parser = profile._parser(tuple(p for p in params if p.name != "audio_codes"))
    served = {f"--{flag}" for flag, _ in serve.FLAGS.values()}
    return {*parser._option_string_actions, *served, "--vram", "--all"}


@profiled
@each
def test_every_flag_that_is_named_is_one(guide: str, language: str) -> None:
    named = {*re.findall(r"(?<![\w-])--[a-z][a-z-]*", text(guide, language))}
    assert len(named) > 5
    assert named - known_flags() == set()


@managed
@each
def test_every_flag_of_the_service_that_is_named_is_one(guide: str, language: str) -> None:
    """Lines for a shell are typed in `test_management_guides`."""
    prose = without_blocks(text(guide, language))
    named = {*re.findall(r"(?<![\w-])--[a-z][a-z-]*", prose)}
    parsers = (four_gb.parser(), serve.parser(), generate.whole_parser(family_named()))
    known = {flag for parser in parsers for flag in parser._option_string_actions}
    assert named and named - known == set()


@both
@each
def test_every_variable_that_is_named_is_a_setting(guide: str, language: str) -> None:
    names = {name for _, setting in declared() for name in (setting.name, *setting.replaces)}
    named = {*re.findall(r"\b(?:HEADROOM|ACESTEP|MAX)_[A-Z_]+", text(guide, language))}
    assert named and named - names == set()


@both
@each
def test_every_command_and_file_that_is_named_is_there(guide: str, language: str) -> None:
    page = text(guide, language)
    said = re.findall(r"`(?:\w+=\w+ )?(?:uv run )?acestep ([a-z]+)", page)
    assert {*said} <= {*COMMANDS} and said
    files = re.findall(r"`((?:src|scripts|docs)/[\w./-]+)", page)
    files += re.findall(r"python (scripts/\w+|\w+\.py)", page)
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert files


@each
def test_policies_and_the_axes_of_the_matrix_are_named(language: str) -> None:
    page = text("GPU_COMPATIBILITY", language)
    assert all(f"--policy {policy}" in page for policy in POLICIES)
    axes = rows(part(text("BENCHMARK", language), "axes"))
    assert [row[1] for row in axes][::3] == ["30, 60, 120, 240", "8, 16"]
    flags_ = ["--duration", "--batch-size", "--thinking", "--inference-steps"]
    assert [row[2].strip("`") for row in axes] == flags_


@each
def test_figures_of_the_output_are_rows_that_are_printed(language: str) -> None:
    """The table that explains the output names the rows as they are printed."""
    page = text("BENCHMARK", language)
    shown = part(page, "breakdown")
    _, _, rest = page.partition("<!-- breakdown:end -->")
    table = [row[0].strip("*") for row in rows(rest)]
    assert table.pop() == "Tokens/sec"
    assert len(table) == 8 and all(name in shown for name in table)


def test_the_plan_command_offers_what_the_guides_say_of_it() -> None:
    assert plan_command.SIZES[0] == 4 and plan_command.SIZES[-1] == 24
    assert plan_command.LENGTHS[0] == 30 and plan_command.LENGTHS[-1] == 600
