"""`acestep profile` with the bundled small models: what is printed and what is written.

Songs are a second long, and no more than that is computed; the rest is as it is for anybody.
"""

from __future__ import annotations

import json
import re
import runpy
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import soundfile

from headroom.cli.main import STOPPED, main
from headroom.engine.engine import Engine
from headroom.errors import DoesNotFit, OutOfMemory
from headroom.profiler import matrix, song_run
from headroom.profiler.options import Options
from headroom.profiler.record import schema
from headroom.profiler.tiers import run
from headroom.profiler.tiers.rows import TierRow, TierTest
from headroom.profiler.tiers.table import published
from headroom.units import GIB
from unit.cli.conftest import Cli, Done, cli, home

__all__ = ["cli", "home"]

ROOT = Path(__file__).resolve().parents[2]
SECONDS, FRAMES, TOKENS = 1, 25, 120


@pytest.fixture(autouse=True)
def _small(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Songs of a second, one at a time, and short texts."""
    monkeypatch.setenv("ACESTEP_MAX_DURATION", str(SECONDS))
    monkeypatch.setenv("ACESTEP_MAX_BATCH_SIZE", "1")
    monkeypatch.setattr("headroom.models.acestep.song.compose.LEAST_FRAMES", FRAMES)
    monkeypatch.setattr("headroom.models.acestep.language.sheet_writing.TEXT_TOKENS", TOKENS)
    monkeypatch.setattr("headroom.models.acestep.language.lm_planning.METADATA_TOKENS", TOKENS)


def written(path: Path) -> dict[str, Any]:
    """A file of the profiler, which is as its schema says."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    jsonschema.Draft202012Validator(schema()).validate(found)
    return found


def profiled(cli: Cli, *words: str) -> tuple[Done, dict[str, Any]]:
    """A call that went well, and what it wrote."""
    done = cli("profile", *words, "--benchmark-output", "out.json", "--force")
    assert done.code == 0, done.err
    return done, written(Path("out.json"))


def rows_of(out: str) -> dict[str, tuple[str, str]]:
    """The breakdown that was printed: seconds (or a count) and share, by the names of the rows."""
    lines = out.split("TIME COSTS BREAKDOWN\n", 1)[1].splitlines()
    assert lines[0] == "=" * 100
    assert lines[1].split() == ["Component", "Time", "(s)", "%", "of", "Total"]
    found = {}
    for line in lines[2:]:
        row = re.fullmatch(r"  ([^─].*?) {2,}([\d.]+|—) +([\d.]+%|—)", line)
        if row:
            found[row[1].strip()] = (row[2], row[3])
    return found


ROWS = [
    "LLM Planning (total)",
    "├─ Token generation",
    "├─ Constrained decoding",
    "└─ CFG overhead",
    "DiT Diffusion (total)",
    "├─ Per-step average",
    "└─ Steps",
    "VAE Decode",
    "Audio Save",
    "Other / Overhead",
    "Wall Time (total)",
]
SUMMED = [ROWS[0], ROWS[4], *ROWS[7:10]]


def check_breakdown(out: str, parts: Mapping[str, Any]) -> None:
    """Printed and written parts are the same, and add up to the wall-clock time."""
    rows = rows_of(out)
    assert list(rows) == ROWS
    wall = parts["wall"]
    assert sum(parts["parts"].values()) == pytest.approx(wall, rel=0.01)
    lm, other = parts["lm"], parts["other"]
    inside = lm["generation"] + lm["grammar"] + (lm["guidance"] or 0)
    assert inside == pytest.approx(parts["parts"]["lm"], rel=0.01)
    assert sum(other.values()) == pytest.approx(parts["parts"]["other"], rel=0.01)
    assert min(*parts["parts"].values(), lm["generation"], *other.values()) >= 0
    assert sum(float(rows[name][0]) for name in SUMMED) == pytest.approx(wall, abs=0.05)
    shares = [float(rows[name][1].rstrip("%")) for name in SUMMED]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert rows["Wall Time (total)"] == (f"{wall:.2f}", "100.0%")
    # The stages one by one, as the run told them, are what the components say.
    stages = parts["stages"]
    for name, stage in (("dit", "denoise"), ("vae", "decode")):
        working = sum(s["working"] for s in stages if s["stage"] == stage)
        assert parts["parts"][name] == pytest.approx(working)
    assert all(a["ended"] <= b["began"] for a, b in pairwise(stages))
    assert stages[-1]["ended"] + parts["parts"]["save"] <= wall


def test_a_song_is_taken_apart(cli: Cli, home: Path) -> None:
    open_sheet = {"caption": "rain on a tin roof, slow piano", "duration": 120, "language": "en"}
    (home / "rain.json").write_text(json.dumps(open_sheet), "utf-8")
    words = ("--thinking", "--use-cot-metas", "--example", "rain.json", "--llm-debug")
    done, found = profiled(cli, *words)
    profile = found["profile"]
    check_breakdown(done.out, profile)
    assert rows_of(done.out)["└─ Steps"][0] == "8" == str(profile["steps"])
    assert profile["per_step"] == pytest.approx(profile["parts"]["dit"] / 8)
    lm = profile["lm"]
    assert lm["guided"] and lm["guidance"] >= 0 and lm["grammar"] > 0
    assert [s["stage"] for s in profile["stages"]] == [
        "think", "write codes", "codes", "condition", "schedule", "denoise", "decode",
    ]  # fmt: skip
    sheet, codes = (s["wrote"][0] for s in profile["stages"][:2])
    assert (codes["songs"], codes["rows"], codes["drawn"]) == (1, 2, 5 * SECONDS)
    assert sheet["drawn"] > 0 and sheet["forced"] > 0 and sheet["read"] > 100
    assert f"Tokens/sec: {_rate(profile):.1f}" in done.out and "LLM DEBUG" in done.out
    assert profile["profiler"]["share"] < 0.01
    assert f"Profiler: {profile['profiler']['events']} events" in done.out
    for heading in ("STAGES", "PERFORMANCE INSIGHTS"):
        assert f"\n{heading}\n" + "=" * 100 in done.out
    assert found["language_model"] == "acestep-5Hz-lm-nano"
    assert found["request"]["seed"] == 42 and found["request"]["duration"] == SECONDS
    assert found["complete"] and found["plan"]["placements"] and found["machine"]["kind"] == "cpu"
    assert "duration: asked 120, used 1: ACESTEP_MAX_DURATION is 1." in done.err


def _rate(profile: Mapping[str, Any]) -> float:
    spent = [one for stage in profile["stages"] for one in stage["wrote"]]
    seconds = sum(one["reading"] + one["writing"] + one["grammar"] for one in spent)
    return float(sum(one["drawn"] + one["forced"] for one in spent) / seconds)


def test_without_a_language_model_it_takes_no_time(cli: Cli) -> None:
    done, found = profiled(cli, "--no-warmup")
    check_breakdown(done.out, found["profile"])
    assert found["profile"]["parts"]["lm"] == 0 and found["warm_up"] is False
    assert rows_of(done.out)["LLM Planning (total)"] == ("0.00", "0.0%")
    assert "LLM DEBUG" not in done.out and found["language_model"] is None
    assert not [line for line in done.err.splitlines() if "use_cot" in line]


def test_guidance_that_is_off_costs_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = list[object]()
    real = Engine.generate

    def counted(self: Engine, request: Any, *rest: Any, **more: Any) -> Any:
        runs.append(request.lm_cfg_scale)
        return real(self, request, *rest, **more)

    monkeypatch.setattr(Engine, "generate", counted)
    _, found = profiled(cli, "--thinking", "--lm-cfg-scale", "1")
    assert found["profile"]["lm"]["guided"] is False
    assert found["profile"]["lm"]["guidance"] == 0 and runs == [1.0, 1.0]
    runs.clear()
    profiled(cli, "--thinking")
    assert runs == [2.0, 2.0, 1.0], "a warm-up, the run that counts, and the same without guidance"
    runs.clear()
    profiled(cli, "--thinking", "--no-warmup")
    assert runs == [2.0, 2.0, 1.0], "the first run is held against nothing: like against like"


def test_what_is_not_used_is_said(cli: Cli) -> None:
    done = cli("profile", "--no-warmup", "--lm-model", "acestep-5Hz-lm-0.6B", "--lm-top-k", "3")
    assert done.code == 0
    assert "note: lm_model, lm_top_k: not used" in done.err
    done = cli("profile", "--no-warmup", "--use-cot-metas")
    assert "note: use_cot_metas: not used" in done.err, "the example's sheet is complete"


def test_functions_and_operators(cli: Cli) -> None:
    done, found = profiled(cli, "--detailed", "--no-warmup", "--inference-steps", "2")
    for name, heading in (("functions", "FUNCTIONS (cProfile"), ("operators", "OPERATORS (torch")):
        rows = found["profile"][name]
        assert heading in done.out and len(rows) == 20
        assert [r["own"] for r in rows] == sorted((r["own"] for r in rows), reverse=True)
        assert all(r["calls"] > 0 and r["total"] >= r["own"] * 0.99 for r in rows)
        assert all(r["name"] in done.out for r in rows)
    assert any(r["name"].startswith("aten::") for r in found["profile"]["operators"])
    assert not any("/home" in r["name"] or str(ROOT) in r["name"]
                   for r in found["profile"]["functions"])  # fmt: skip


def test_a_picture(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = cli("profile", "--no-warmup", "--plot", "run.png")
    assert done.code == 0, done.err
    assert (home / "run.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [p.name for p in home.iterdir()] == ["run.png"]
    monkeypatch.setattr("headroom.profiler.main.find_spec", lambda name: None)
    done = cli("profile", "--plot", "other.png")
    assert done.code == 2 and "pip install 'headroom-audio[plot]'" in done.err and not done.out
    done = cli("profile", "--plot", "other.jpg")
    assert done.code == 2 and "ends in .png" in done.err and not done.out


# --- benchmark -------------------------------------------------------------------------------

TABLE = ["Duration", "Batch", "Think", "Steps", "Wall(s)", "LM(s)", "DiT(s)", "VAE(s)", "Status"]


def table_of(out: str) -> list[list[str]]:
    lines = out.split("BENCHMARK RESULTS\n", 1)[1].splitlines()[1:]
    assert lines[0].split() == TABLE and lines[1] == "-" * 122
    return [line.split() for line in lines[2:] if line]


def test_the_matrix_is_clipped_to_what_is_allowed(cli: Cli) -> None:
    done, found = profiled(cli, "--mode", "benchmark")
    rows = table_of(done.out)
    assert [row[:4] for row in rows] == [
        ["1", "1", think, steps] for think in ("False", "True") for steps in ("8", "16")
    ]
    assert {row[8] for row in rows} == {"OK"} and found["benchmark"]["asked"] == 4
    for seconds in (30, 60, 120, 240):
        assert done.err.count(f"duration: asked {seconds}, used 1") == 1, "each clip is said once"
    for batch in (2, 4):
        assert done.err.count(f"batch_size: asked {batch}, used 1") == 1
    assert "[4/4] 1 s, batch 1, 16 steps, thinking: " in done.err
    for row, said in zip(rows, found["benchmark"]["rows"], strict=True):
        parts = said["measured"]
        assert sum(parts["parts"].values()) == pytest.approx(parts["wall"], rel=0.01)
        assert said["plan"]["placements"] and parts["stages"][-1]["stage"] == "decode"
        assert row[4] == f"{parts['wall']:.2f}" and row[6] == f"{parts['parts']['dit']:.2f}"
        assert (parts["parts"]["lm"] > 0) == said["config"]["thinking"] == (row[2] == "True")
        assert parts["songs"] == 1 and parts["audio_seconds"] == SECONDS
        assert (said["language_model"] is None) != said["config"]["thinking"]


def test_an_axis_that_is_named_has_one_value(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACESTEP_MAX_BATCH_SIZE")
    words = ("--mode", "benchmark", "--no-warmup", "--thinking", "--inference-steps", "2")
    done, _ = profiled(cli, *words, "--batch-size", "2", "--duration", "1")
    assert [row[:4] for row in table_of(done.out)] == [["1", "2", "True", "2"]]
    words = ("--mode", "benchmark", "--no-warmup", "--no-thinking", "--inference-steps", "1")
    done, found = profiled(cli, *words)
    assert [row[1] for row in table_of(done.out)] == ["1", "2", "4"]
    assert [row["measured"]["songs"] for row in found["benchmark"]["rows"]] == [1, 2, 4]


def test_without_a_language_model_there_are_no_rows_of_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, _ = profiled(cli, "--mode", "benchmark", "--no-warmup", "--no-init-lm")
    assert {row[2] for row in table_of(done.out)} == {"False"}
    assert "no language model is loaded here" in done.err


def test_ctrl_c_keeps_what_was_measured(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = song_run.measure, list[int]()

    def measured(*given: Any) -> song_run.Measured:
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return real(*given)

    monkeypatch.setattr(matrix, "measure", measured)
    done = cli("profile", "--mode", "benchmark", "--no-warmup", "--benchmark-output", "out.json")
    assert done.code == STOPPED and len(calls) == 3
    assert len(table_of(done.out)) == 2
    found = written(Path("out.json"))
    assert found["complete"] is False
    assert (len(found["benchmark"]["rows"]), found["benchmark"]["asked"]) == (2, 4)


def test_ctrl_c_behind_the_run_that_counts_keeps_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = song_run.measure

    def measured(*given: Any) -> song_run.Measured:
        found = real(*given)
        signal.raise_signal(signal.SIGINT)  # while guidance is about to be held against nothing
        return found

    monkeypatch.setattr(song_run, "measure", measured)
    words = ("--thinking", "--no-warmup", "--detailed", "--benchmark-output", "out.json")
    done = cli("profile", *words)
    assert done.code == STOPPED and done.err.endswith("stopped.\n")
    assert rows_of(done.out)["└─ CFG overhead"] == ("—", "—") and "not measured" in done.out
    found = written(Path("out.json"))
    assert found["complete"] is False and found["profile"]["lm"]["guidance"] is None
    assert "functions" not in found["profile"]


def test_ctrl_c_before_it_leaves_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    real = song_run.warm_up

    def warmed(*given: Any) -> float:
        signal.raise_signal(signal.SIGINT)
        return real(*given)

    monkeypatch.setattr(song_run, "warm_up", warmed)
    done = cli("profile", "--benchmark-output", "none.json", "--plot", "none.png")
    assert done.code == STOPPED and list(Path().iterdir()) == []


def test_a_row_that_cannot_be_made_says_why_and_the_others_go_on(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = song_run.measure, list[int]()
    errors = {1: OutOfMemory("denoise", 1 << 30, 2), 3: DoesNotFit(3 << 30, 1 << 30)}

    def measured(*given: Any) -> song_run.Measured:
        calls.append(1)
        if len(calls) in errors:
            raise errors[len(calls)]
        return real(*given)

    monkeypatch.setattr(matrix, "measure", measured)
    done = cli("profile", "--mode", "benchmark", "--no-warmup", "--benchmark-output", "out.json")
    assert done.code == 1
    rows = [row for row in table_of(done.out) if row[0] == "1"][:4]
    assert [" ".join(row[8:]) for row in rows] == ["OOM", "OK", "NO FIT", "OK"]
    assert rows[0][4:8] == ["—"] * 4
    assert f"1 s, batch 1, 8 steps: {errors[1]}" in done.out
    found = written(Path("out.json"))
    assert found["complete"] is True
    for number, row in enumerate(found["benchmark"]["rows"], 1):
        assert row["error"] == (str(errors[number]) if number in errors else None)
        assert row["success"] == (row["measured"] is not None) == (number not in errors)


# --- the language model's texts ----------------------------------------------------------------

RESULT = ["Caption", "BPM", "Duration", "Key", "Language", "Time signature", "Instrumental",
          "Lyrics"]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "act"),
    [
        (("understand",), "understand"),
        (("understand", "--audio-codes", "<|audio_code_3|><|audio_code_14|>"), "understand"),
        (("create_sample", "--sample-query", "rain", "--instrumental"), "create_sample"),
        (("format_sample", "--llm-debug"), "format_sample"),
    ],
)
def test_a_text_is_measured(cli: Cli, words: tuple[str, ...], act: str) -> None:
    done, found = profiled(cli, "--mode", *words, "--no-warmup")
    text = found["text"]
    rows = rows_of(done.out)
    assert list(rows) == [*ROWS[:4], *ROWS[9:]]
    assert sum(text["parts"].values()) == pytest.approx(text["wall"], rel=0.01)
    assert text["parts"]["lm"] > 0.5 * text["wall"] and text["lm"]["grammar"] > 0
    assert text["parts"]["dit"] == text["parts"]["vae"] == text["parts"]["save"] == 0
    (stage,) = text["stages"]
    (spent,) = stage["wrote"]
    assert stage["stage"] == "think" and spent["drawn"] + spent["forced"] == TOKENS
    lines = done.out.split("RESULT\n", 1)[1].splitlines()[1 : 1 + len(RESULT)]
    assert [line[2:18].strip() for line in lines] == RESULT
    assert lines[1].split()[1] == str(text["sheet"]["bpm"])
    assert text["request"]["task"] == act and text["request"]["seed"] == 42
    assert text["profiler"]["share"] < 0.01
    assert ("LLM DEBUG" in done.out) == ("--llm-debug" in words)
    if words == ("understand",):
        assert f"codes: {5 * SECONDS}, of a song that was thought out first" in done.err
        assert text["request"]["audio_codes"].count("audio_code") == 5 * SECONDS
    if act == "create_sample":
        assert text["sheet"]["instrumental"] and text["request"]["caption"] == "rain"


def test_a_recording_is_heard_first(cli: Cli, home: Path) -> None:
    noise = np.random.default_rng(3).uniform(-0.5, 0.5, (48000 * SECONDS, 2))
    soundfile.write(home / "song.wav", noise, 48000)
    done, found = profiled(cli, "--mode", "understand", "--src-audio", "song.wav", "--no-warmup")
    assert found["text"]["hearing"] > 0 and "Audio to codes, before that:" in done.out
    assert found["text"]["request"]["audio_codes"].count("audio_code") == 5 * SECONDS


# --- what is written, and when it cannot be ----------------------------------------------------


def test_where_it_goes_is_tried_before_anything_runs(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("here before")
    for place in ("file/out.json", "."):
        done = cli("profile", "--benchmark-output", place)
        assert done.code == 2 and done.out == "" and "benchmark_output" in done.err
    done = cli("profile", "--benchmark-output", "file")
    assert done.code == 2 and "this program did not make it" in done.err and "--force" in done.err
    for words in (("--benchmark-output", "new"), ("--benchmark-output", "file", "--force")):
        done = cli("profile", "--thinking", "--lm-model", "acestep-5Hz-lm-4B", *words)
        assert done.code == 1 and "acestep-5Hz-lm-4B" in done.err
    assert (home / "file").read_text() == "here before"
    assert [p.name for p in home.iterdir()] == ["file"], "nothing half-written is left"


def test_two_runs_beside_each_other(cli: Cli, home: Path) -> None:
    _, first = profiled(cli, "--no-warmup")
    Path("out.json").rename("a.json")
    first["profile"]["wall"] *= 2
    first["profile"]["parts"]["dit"] *= 4
    (home / "b.json").write_text(json.dumps(first))
    done = cli("profile", "compare", "a.json", "b.json")
    assert done.code == 0, done.err
    ratios = {line.split()[0]: line.split()[-1] for line in done.out.splitlines() if "  " in line}
    assert (ratios["wall"], ratios["dit"], ratios["vae"]) == ("2.00x", "4.00x", "1.00x")
    assert ratios["lm"] == "—", "nothing over nothing"
    profiled(cli, "--mode", "benchmark", "--no-warmup", "--no-thinking", "--inference-steps", "1")
    for other, why in (("out.json", "a file of mode profile"), ("none.json", "is not there"),
                       (__file__, "is not JSON")):  # fmt: skip
        done = cli("profile", "compare", "a.json", other)
        assert done.code == 2 and why in done.err and done.out == ""
    done = cli("profile", "compare", "out.json", "out.json")
    assert "1 s × 1, 1 steps: wall" in done.out
    assert {word for word in done.out.split() if re.fullmatch(r"[\d.]+x", word)} == {"1.00x"}


# --- every command line of the guides ----------------------------------------------------------

GUIDES = """
python profile_inference.py
python profile_inference.py --thinking
python profile_inference.py --mode benchmark
python profile_inference.py --device mps --lm-backend mlx
python profile_inference.py --detailed
python profile_inference.py --mode profile
python profile_inference.py --mode benchmark --benchmark-output results.json
python profile_inference.py --mode understand
python profile_inference.py --mode understand --audio-codes "your_audio_codes_string"
python profile_inference.py --mode create_sample
python profile_inference.py --mode create_sample --sample-query "一首柔和的孟加拉情歌"
python profile_inference.py --mode create_sample --instrumental
python profile_inference.py --mode format_sample
python profile_inference.py --mode tier-test
python profile_inference.py --mode tier-test --tiers 6 8 16
python profile_inference.py --mode tier-test --tier-with-lm
python profile_inference.py --mode tier-test --tier-skip-compile
python profile_inference.py --mode tier-test --tier-boundary
python profile_inference.py --mode tier-test --tier-boundary --tiers 8 12 16 20 24
python profile_inference.py --mode tier-test --tier-boundary --tier-with-lm
python profile_inference.py --mode tier-test --tier-boundary --benchmark-output boundary_results.json
python profile_inference.py --mode tier-test --tier-batch-boundary --tier-with-lm
python profile_inference.py --mode tier-test --tier-batch-boundary --tier-with-lm --tiers 8 12 16 24
python profile_inference.py --device cuda --lm-backend vllm
python profile_inference.py --device cpu --lm-backend pt
python profile_inference.py --lm-model acestep-5Hz-lm-0.6B
python profile_inference.py --lm-model acestep-5Hz-lm-1.7B
python profile_inference.py --lm-model acestep-5Hz-lm-4B
python profile_inference.py --thinking --use-cot-metas --use-cot-caption
python profile_inference.py --offload-to-cpu --quantization int8_weight_only --lm-model acestep-5Hz-lm-0.6B
python profile_inference.py --mode benchmark --benchmark-output benchmark_results.json
python profile_inference.py --detailed --llm-debug
""".strip().splitlines()  # noqa: E501
ABSENT = ("mps", "cuda")  # devices of these lines, which a machine may lack


@pytest.fixture
def _tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tier tests without the processes that try sizes: every case went well."""

    def tested(options: Options, say: object) -> TierTest:
        rows = tuple(
            TierRow(
                size, published(size).name, case.name, case.use_lm, case.songs,
                options.tier_duration, "ok", simulated=True, songs=case.songs,
                lm=published(size).recommended if case.use_lm else None, lm_backend="pt",
                offload="none" if case.variant == "no-offload" else published(size).offload,
                quantization=None if case.variant.startswith("no-") else "int8",
                measured_peak=int(0.8 * size * GIB), frames=750, tile=256, init_seconds=1.0,
            )
            for size in options.tiers
            for case in run.cases_of(size, options)
        )  # fmt: skip
        return TierTest(rows, 1.0, False, options.tier_boundary, options.tier_batch_boundary)

    monkeypatch.setattr(run, "tier_test", tested)


@pytest.fixture
def old(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`profile_inference.py`, run as a program in this process."""

    def call(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["profile_inference.py", *words])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "profile_inference.py"), run_name="__main__")
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, said.out, said.err)

    return call


@pytest.mark.usefixtures("_tried")
@pytest.mark.parametrize("line", GUIDES)
def test_a_line_of_the_guides_does_what_is_written_there(old: Cli, line: str) -> None:
    program, script, *words = shlex.split(line)
    assert (program, script) == ("python", "profile_inference.py")
    done = old(*words)
    if any(device in words for device in ABSENT) and done.code:
        assert done.code == 2 and done.out == ""
        assert re.search(r"^error: device: '\w+' is not allowed; allowed: .* here", done.err)
        return
    if "your_audio_codes_string" in words:
        assert done.code == 2 and "audio_codes" in done.err and done.out == ""
        return
    assert done.code == 0, done.err
    mode = words[words.index("--mode") + 1] if "--mode" in words else "profile"
    if mode == "profile":
        assert list(rows_of(done.out)) == ROWS
    elif mode == "benchmark":
        assert len(table_of(done.out)) == 4
    elif mode == "tier-test":
        check_tiers(done.out, words)
    else:
        assert list(rows_of(done.out)) == [*ROWS[:4], *ROWS[9:]] and "\nRESULT\n" in done.out
    for flag, heading in (("--detailed", "FUNCTIONS"), ("--llm-debug", "LLM DEBUG")):
        assert (f"\n{heading}" in done.out) == (flag in words)
    if "--benchmark-output" in words:
        assert written(Path(words[-1]))["mode"] == mode


def check_tiers(out: str, words: list[str]) -> None:
    """The tables of a tier test that was asked for with these flags."""
    sizes = [4, 6, 8, 12, 16, 20, 24]
    if "--tiers" in words:
        sizes = [int(word) for word in words[words.index("--tiers") + 1 :] if word.isdecimal()]
    lines = out.splitlines()
    if "--tier-batch-boundary" in words:
        assert "BATCH BOUNDARY" in out.upper()
    else:
        assert "TIER TEST RESULTS" in out
        head = next(line for line in lines if "Peak VRAM" in line)
        columns = ("VRAM", "Tier", "LM", "Duration", "Status", "Peak VRAM", "Notes")
        assert all(column in head for column in columns)
        rows = [line for line in lines if "✅ OK" in line]
        for size in sizes:
            assert any(re.match(rf"  {size}GB +{published(size).name} ", row) for row in rows)
    if "--tier-boundary" in words:
        assert "BOUNDARY ANALYSIS" in out
        assert re.search(r"Capability +Min Tier +VRAM", out)
        for capability in ("No INT8 Quantization", "No CPU Offload (all models on GPU)"):
            assert re.search(rf"{re.escape(capability)} +\w+ +\d+GB", out)


def test_the_guides_last_line_prints_what_was_written(
    cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    """`cat benchmark_results.json | python -m json.tool`"""
    assert main(["profile", "--no-warmup", "--benchmark-output", "benchmark_results.json"]) == 0
    capsys.readouterr()
    text = Path("benchmark_results.json").read_text("utf-8")
    assert json.loads(text)["mode"] == "profile" and text.endswith("}\n")


def test_the_schema_refuses_what_is_not_ours(cli: Cli) -> None:
    _, found = profiled(cli, "--no-warmup")
    validator = jsonschema.Draft202012Validator(schema())
    jsonschema.Draft202012Validator.check_schema(dict(schema()))

    def spoilt() -> Iterator[dict[str, Any]]:
        yield {**found, "mode": "waltz"}
        yield {name: value for name, value in found.items() if name != "machine"}
        yield {**found, "more": 1}
        yield {**found, "profile": {**found["profile"], "wall": -1}}

    assert validator.is_valid(found)
    assert [validator.is_valid(value) for value in spoilt()] == [False] * 4
