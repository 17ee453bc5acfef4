"""The guides to the 4 GB mode and to management: their lines for a shell, figures, and programs."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex

import pytest
import yaml
from docs.management import PUBLISHED_LIMITS, SETTING, START

from headroom.cli import four_gb, generate, serve, ui
from headroom.cli.parser import spelt
from headroom.engine.options import EngineOptions
from headroom.models.registry import family_named
from headroom.runtime.entry import State
from headroom.settings import FOUR_GB, settings_of
from headroom.units import GIB
from support.guide_pages import BLOCK, LANGUAGES, MANAGED, ROOT, part, rows, text

each = pytest.mark.parametrize("language", LANGUAGES)
ASSIGNED = re.compile("(?!TORCH_INDEX)[A-Z_]+=")
RESULTS = ROOT / "benchmarks" / "results"


@each
def test_the_figures_of_sharing_are_those_of_its_proof(language: str) -> None:
    page = text("GPU_MANAGEMENT_SUMMARY", language)
    (name,) = re.findall(r"benchmarks/results/(\S+?\.json)", page)
    proof = json.loads((RESULTS / name).read_text("utf-8"))
    runs = proof["requests"]
    assert f" {sum(run['requests'] for run in runs)} " in page.replace("：", " ").replace("건", " ")
    assert sum(run["out_of_memory"] for run in runs) == 0
    slowest = max(run["own_cpu_ms"][1] for run in runs)
    assert f"{slowest:.1f} ms" in page and f"{max(proof['reclaimed_s']):.1f} s" in page


def shell_lines() -> list[str]:
    pages = (text(guide, language) for guide in MANAGED for language in LANGUAGES)
    blocks = (body for page in pages for kind, body in BLOCK.findall(page) if kind == "sh")
    return sorted({line for body in blocks for line in body.splitlines() if line})


# Programs that are not ours, with the words that have to be there.
OTHERS = {"nvidia-smi": ("-l",), "docker": ("stop", "start", "build", "compose")}


@pytest.mark.parametrize("line", shell_lines())
def test_a_line_for_a_shell_can_be_typed(line: str) -> None:
    words = [word for word in shlex.split(line) if not ASSIGNED.match(word)]
    program, rest = words[0], words[1:]
    if program.startswith("./"):
        assert (ROOT / program).is_file()
        if program.endswith("4gb_mode.sh"):
            four_gb.parser().parse_args(rest)
    elif program == "acestep":
        parsers = {"serve": serve.parser(), "generate": generate.whole_parser(family_named())}
        assert parsers[rest[0]].parse_known_args(rest[1:])[1] in ([], ["slow bossa nova"])
    elif program == "python":
        typed_python(rest)
    elif program == "curl":
        path = re.sub(r"http://127.0.0.1:8001", "", rest[-1])
        verb = "post" if "POST" in rest else "get"
        document = ROOT / "src" / "headroom" / "service" / "routes"
        assert any(f'{verb}("{path}"' in f.read_text("utf-8") for f in document.rglob("*.py"))
    else:
        assert rest[0] in OTHERS[program]
        named_by_docker(rest)


def typed_python(words: list[str]) -> None:
    if words[0] != "-m":
        assert (ROOT / words[0]).is_file()
    elif words[1] == "uvicorn":
        module, _, name = words[2].partition(":")
        assert name == "app" and importlib.util.find_spec(module) is not None
    else:
        assert importlib.util.find_spec(words[1]) is not None
        ui.parser().parse_args(list(ui.today(spelt(words[2:]))))


def named_by_docker(words: list[str]) -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    if "--profile" in words:
        assert words[words.index("--profile") + 1] in compose["services"]
    if "-t" in words:
        images = [service["image"] for service in compose["services"].values()]
        assert words[words.index("-t") + 1] in images
    if "--build-arg" in words:
        assert words[words.index("--build-arg") + 1].startswith("TORCH_INDEX=")
        assert "ARG TORCH_INDEX" in (ROOT / "Dockerfile").read_text("utf-8")


@each
def test_the_routes_and_files_that_are_named_are_there(language: str) -> None:
    for guide in MANAGED:
        page = text(guide, language)
        for name in re.findall(r"`([\w/.-]+\.(?:py|sh|bat|yaml|md))`", page):
            assert (ROOT / name).is_file(), name
        for path in re.findall(r"`(?:GET |POST )?(/(?:gpu|health)/\w+)`", page):
            routes = (ROOT / "src" / "headroom" / "service" / "routes").rglob("*.py")
            assert any(f'"{path}"' in file.read_text("utf-8") for file in routes), path


@each
def test_the_programs_of_the_guides_use_what_is_there(
    language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    manager = importlib.import_module("gpu_manager").GPUResourceManager
    options = settings_of(EngineOptions)
    called = set()
    for guide in MANAGED:
        for kind, body in BLOCK.findall(text(guide, language)):
            for node in ast.walk(ast.parse(body) if kind == "python" else ast.Module([], [])):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "Engine":
                    assert {word.arg for word in node.keywords} <= set(options)
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "manager":
                    called.add(node.attr)
    of_memory = {"get_status", "validate_generation_params"}
    assert called >= {"using", "get_model", "force_offload", "force_release", *of_memory}
    assert all(hasattr(manager, name) for name in called - of_memory)
    named = re.findall(r"`manager\.(\w+)\(", text("GPU_MANAGEMENT", language))
    assert len(named) == 3 and all(hasattr(manager, name) for name in named)


@each
def test_the_env_of_the_guide_is_the_published_one(language: str) -> None:
    block = part(text("MEMORY_4GB", language), "env").splitlines()
    assert block[1:-1] == [f"{name}={value}" for name, value in FOUR_GB.items()]
    assert "ACESTEP_MAX_DURATION=180" in block and "MAX_CUDA_VRAM=4" in block


@each
def test_the_table_of_limits_has_the_published_column(language: str) -> None:
    table = rows(part(text("MEMORY_4GB", language), "limits"))
    assert [row[1] for row in table] == list(PUBLISHED_LIMITS)
    assert [row[2][0] for row in table] == list("✅✅❌⚠⚠✅⚠")


@each
def test_the_script_s_variables_are_all_in_the_table(language: str) -> None:
    script = START.read_text("utf-8")
    assigned = re.findall(r'^([A-Z_]+)="\$\{\1:-', script, re.MULTILINE)
    assert len(assigned) == len(SETTING.findall(script)) == 11
    table = rows(part(text("GPU_MANAGEMENT", language), "script"))
    assert [row[0].strip("`") for row in table] == assigned


@each
def test_the_comparison_is_the_measured_one(language: str) -> None:
    newest = sorted(RESULTS.glob("*-cpu-management.json"))[-1]
    measured = json.loads(newest.read_text("utf-8"))
    assert measured["holds"] and measured["managed"]["idle"] == measured["managed"]["before"]
    table = rows(part(text("GPU_MANAGEMENT_CHANGES", language), "comparison"))
    published = [tuple(row[1:3]) for row in table[1:5]]
    assert published == [
        ("40 GB", "1 GB"),
        ("40 GB", "40 GB"),
        ("24 s", "24 s"),
        ("24 s", "26–29 s"),
    ]
    for row, name in zip(table[1:5], ("idle", "peak", "first", "later"), strict=True):
        for cell, way in zip(row[3:], ("loaded", "managed"), strict=True):
            value = measured[way][name]
            shown = f"{value / GIB:.2f} GiB" if name in ("idle", "peak") else f"{value:.2f} s"
            assert cell.replace(",", ".") == shown
    copy = measured["loaded"]["idle"] / measured["link_bytes_per_second"]
    assert measured["managed"]["later"] - measured["loaded"]["later"] <= 1.25 * copy


@each
def test_the_states_are_those_of_the_program(language: str) -> None:
    first = text("GPU_MANAGEMENT_SUMMARY", language).split("\n## ")[1]
    assert [row[0].strip("`") for row in rows(first)] == [state.value for state in State]
