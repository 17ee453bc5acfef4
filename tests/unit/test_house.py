"""The house as `docs/design.md` draws it: floors, folders, and the README's two lines."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
README = (ROOT / "README.md").read_text(encoding="utf-8")
WITHOUT_TORCH = (
    "headroom/params/**/*.py",
    "headroom/memory/**/*.py",
    "headroom/hardware/machine.py",
    "headroom/jobs/**/*.py",
    "headroom/storage/**/*.py",
    "headroom/models/*/requests.py",
    "headroom/models/*/footprint.py",
    "headroom/engine/wire/*.py",
    "headroom/ui/**/*.py",
)


def torch_after(*modules: str) -> str:
    """What a fresh interpreter has of torch after these imports: one module name a line."""
    imports = "\n".join(f"import {module}" for module in modules)
    ask = "print(*(m for m in sys.modules if m.split('.')[0] == 'torch'), sep='\\n')"
    code = f"import sys\n{imports}\n{ask}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SRC, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def module_name(file: Path) -> str:
    parts = file.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def packages() -> list[Path]:
    """Every folder below src/headroom and src/acestep that holds a module."""
    modules = [*SRC.glob("headroom/**/*.py"), *SRC.glob("acestep/**/*.py")]
    return sorted({file.parent for file in modules})


def readme_lines() -> list[str]:
    block = re.search(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert block, "README.md has no sh block"
    return block.group(1).splitlines()


CITATION = re.compile(r"\bR\d{2,3}\b|(?<![/\w])spec/|[Ss]pecifications? of the", re.MULTILINE)


def pointless_citations(text: str) -> list[str]:
    """Citations of numbered texts that are not part of the repository."""
    return CITATION.findall(text)


def test_nothing_cites_a_text_that_a_reader_does_not_have() -> None:
    assert pointless_citations("R130's budgets") and pointless_citations("see spec/lm.md")
    assert pointless_citations("source: the specification of the LM, 7.4")
    files = [*SRC.rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    cited = {str(f.relative_to(ROOT)): pointless_citations(f.read_text("utf-8")) for f in files}
    assert {name: found for name, found in cited.items() if found} == {}


def test_importing_headroom_imports_no_torch() -> None:
    assert torch_after("headroom") == ""


def test_the_question_itself_can_be_answered_with_yes() -> None:
    assert "torch" in torch_after("torch").splitlines()


def test_what_is_asked_and_what_fits_are_known_without_torch() -> None:
    modules = [module_name(file) for pattern in WITHOUT_TORCH for file in SRC.glob(pattern)]
    assert "headroom.params.knob" in modules
    assert torch_after(*modules) == ""


def test_every_folder_is_a_package_that_the_import_contracts_see() -> None:
    missing = [str(folder.relative_to(ROOT)) for folder in packages()]
    missing = [name for name in missing if not (ROOT / name / "__init__.py").exists()]
    assert missing == []


def test_every_public_folder_is_named_in_the_design() -> None:
    drawn = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    folders = [f.name for f in packages() if f.parent == SRC / "headroom"]
    assert "params" in folders
    assert [
        name for name in folders if f"\n  {name}/" not in drawn and f" {name}/" not in drawn
    ] == []


def test_every_floor_stands_in_the_contracts() -> None:
    contracts = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    floors = [f.stem for f in (SRC / "headroom").iterdir() if f.suffix == ".py" or f in packages()]
    floors = [name for name in floors if name != "__init__"]
    assert "errors" in floors
    assert [name for name in floors if not re.search(rf"headroom\.{name}\b", contracts)] == []


def test_the_contracts_draw_the_floors_of_the_design() -> None:
    drawn = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    block = re.search(r"^layers =\n(.*?)^```$", drawn, re.MULTILINE | re.DOTALL)
    contracts = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.search(r"^layers = \[\n(.*?)^\]$", contracts, re.MULTILINE | re.DOTALL)
    assert block and layers
    in_contracts = re.findall(r'^    "(.*)",$', layers.group(1), re.MULTILINE)
    in_design = [line.strip() for line in block.group(1).splitlines() if line.strip()]
    assert [re.sub(r"[()]", "", line) for line in in_contracts] == in_design


def test_the_readme_opens_with_two_lines_each_a_whole_command() -> None:
    lines = readme_lines()
    assert len(lines) == 2
    assert lines[0].startswith('python3 start.py song "')
    assert lines[1] == "python3 start.py test"


@pytest.mark.skipif(not shutil.which("awk"), reason="the programs of .ci/run are not here")
def test_ci_runs_the_lines_of_the_readme_and_no_others() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    program = re.search(r"awk '([^']*)' README\.md", script)
    assert program, ".ci/run does not read its lines from README.md"
    read = subprocess.run(
        ["awk", program.group(1), str(ROOT / "README.md")], capture_output=True, check=True
    )
    assert read.stdout.decode("utf-8").splitlines() == readme_lines()
    assert [n for n in (0, 1) if f'bash -euo pipefail -c "${{lines[{n}]}}"' not in script] == []
    assert "start.py" not in script, "a command written a second time can drift"


def test_no_file_grows_past_four_hundred_lines() -> None:
    long = {
        str(file.relative_to(ROOT)): lines
        for file in [ROOT / "start.py", *SRC.rglob("*.py")]
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}


def reads_of_the_environment(code: str) -> list[str]:
    """What of a module makes settings out of the environment, or asks it for one of ours."""
    tree = ast.parse(code)
    imported = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "headroom.settings"
        for alias in node.names
    ]
    asked = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    ours = re.compile("(HEADROOM|ACESTEP)_[A-Z_]+")
    return [n for n in imported if n == "load"] + [a for a in asked if ours.fullmatch(a)]


def test_below_the_engine_nobody_reads_the_environment_again() -> None:
    assert reads_of_the_environment("from headroom.settings import load as x") == ["load"]
    assert reads_of_the_environment('os.environ["HEADROOM_LM_PROMPT"]') == ["HEADROOM_LM_PROMPT"]
    above = {"cli", "profiler", "ui", "service"}
    files = [f for f in SRC.glob("headroom/*/**/*.py") if f.relative_to(SRC).parts[1] not in above]
    files = [f for f in files if not f.is_relative_to(SRC / "headroom" / "settings")]
    assert len(files) > 100
    found = {str(f.relative_to(SRC)): reads_of_the_environment(f.read_text("utf-8")) for f in files}
    assert {name: said for name, said in found.items() if said} == {
        str(Path("headroom", "engine", "options.py")): ["load"]
    }
