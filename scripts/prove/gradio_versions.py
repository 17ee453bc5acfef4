"""The page starts and passes its tests on the oldest Gradio that is allowed and on the newest one.

Each is installed into a folder of its own, which comes first on the path; what else it needs has to
be installed in a version that it allows. Needs a package index. `--browser` also runs the page in a
browser.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import Distribution, version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/unit/ui", "tests/unit/cli/test_ui.py", "tests/unit/service/test_session.py")
BROWSER = ("-m", "browser", "tests/e2e/test_page.py")


def allowed() -> Requirement:
    """What the extra `ui` asks of Gradio."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    asked = map(Requirement, project["project"]["optional-dependencies"]["ui"])
    return next(one for one in asked if one.name == "gradio")


def oldest(gradio: Requirement) -> str:
    """The oldest version, as a requirement."""
    lowest = next(one for one in gradio.specifier if one.operator == ">=")
    return f"gradio=={lowest.version}"


def install(asked: str, folder: Path) -> None:
    """Install one package without those that it needs."""
    words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    subprocess.run([*words, asked], check=True)


def with_client(folder: Path) -> list[str]:
    """Install the client that goes with the Gradio in a folder; what of its needs is not met."""
    (gradio,) = folder.glob("gradio-*.dist-info")
    missing = []
    for text in Distribution.at(gradio).requires or ():
        need = Requirement(text)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        if re.sub("[-_.]+", "-", need.name) == "gradio-client":
            install(f"gradio_client{need.specifier}", folder)
        elif not need.specifier.contains(version(need.name), prereleases=True):
            missing.append(f"{need}: {version(need.name)} is installed")
    return missing


def holds(asked: str, browser: bool) -> bool:
    """Whether the page passes its tests on this Gradio."""
    with tempfile.TemporaryDirectory() as place:
        install(asked, Path(place))
        missing = with_client(Path(place))
        (found,) = Path(place).glob("gradio-*.dist-info")
        print(f"{found.stem}: {'; '.join(missing) or 'everything it needs is here'}", flush=True)
        path = os.pathsep.join([place, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path}
        ran = [
            subprocess.run(
                [sys.executable, "-m", "pytest", "-q", *words], cwd=ROOT, env=environment
            ).returncode
            for words in (TESTS, *([BROWSER] if browser else []))
        ]
        return not missing and not any(ran)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--browser", action="store_true", help="in a browser too")
    args = parser.parse_args()
    gradio = allowed()
    asked = (oldest(gradio), f"gradio{gradio.specifier}")
    results = {one: holds(one, args.browser) for one in asked}
    for one, held in results.items():
        print(f"{one}: {'holds' if held else 'does not hold'}")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
