#!/usr/bin/env python3
"""From a fresh checkout to a song, with Python and nothing else.

    python3 start.py song "slow bossa nova, nylon guitar"   more flags go on to `acestep generate`
    python3 start.py ui                                      more flags go on to `acestep ui`
    python3 start.py 4gb                                     more flags go on to `acestep 4gb`
    python3 start.py serve                                   more flags go on to `acestep serve`
    python3 start.py test                                    more flags go on to pytest

Makes `.venv` beside this file, installs the project there with the versions of constraints.txt,
and runs what was asked. The system's Python is never changed. When nothing changed since the last
time, nothing is installed. Standard library only, and readable by Python 3.8, so that an old
Python finds a newer one or says what is missing.
"""

from __future__ import annotations

import collections
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Iterable, NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
OLDEST = (3, 11)
NEWER = ("3.13", "3.12", "3.11", "3.14")  # in the order in which they are tried
TORCH_WHEELS = "https://download.pytorch.org/whl/"  # torch's own builds: cpu, cu130 ...
INDEX_SETTINGS = ("index-url", "extra-index-url", "find-links", "no-index")
PIP_FILLS_OTHERS = "import venv, pip; assert int(pip.__version__.split('.')[0]) >= 23"
USAGE = "usage:\n" + (__doc__ or "").split("\n\n")[1]


class Stop(Exception):
    """Set-up cannot go on; the text is what a person needs to know."""


# --- which Python ---------------------------------------------------------------------------


def venv_python(venv: Path, system: str = os.name) -> Path:
    """The interpreter inside a virtual environment: `Scripts/` on Windows, `bin/` elsewhere."""
    return venv / "Scripts" / "python.exe" if system == "nt" else venv / "bin" / "python"


def version_of(command: list[str]) -> tuple[int, ...] | None:
    """`(3, 12, 1)` for a command that starts a Python, None for one that does not."""
    question = "import sys; print(*sys.version_info[:3])"
    try:
        answer = subprocess.run(
            [*command, "-c", question],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=30,
        )
        return tuple(int(part) for part in answer.stdout.split()) or None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def find_python(system: str = os.name) -> list[str] | None:
    """The command of a Python that is new enough: this one, or another one on PATH."""
    if sys.version_info >= OLDEST:
        return [sys.executable]
    for version in NEWER:
        names = [["python" + version]] + ([["py", "-" + version]] if system == "nt" else [])
        for command in names:
            if shutil.which(command[0]) and (version_of(command) or (0,)) >= OLDEST:
                return command
    return None


# --- the virtual environment ----------------------------------------------------------------


def ways_to_make(venv: Path, python: list[str] | None) -> list[tuple[str, list[list[str]]]]:
    """Name and commands of each way to make a virtual environment that this machine has."""
    ways = []
    uv, virtualenv = shutil.which("uv"), shutil.which("virtualenv")
    if python and answers(python, "import ensurepip, venv"):
        ways.append(("venv", [[*python, "-m", "venv", str(venv)]]))
    if uv:
        wanted = python[0] if python and len(python) == 1 else ">=3.11"
        ways.append(("uv", [[uv, "venv", "--seed", "--python", wanted, str(venv)]]))
    if virtualenv and python and len(python) == 1:
        ways.append(("virtualenv", [[virtualenv, "--python", python[0], str(venv)]]))
    if python and answers(python, PIP_FILLS_OTHERS):
        bare = [*python, "-m", "venv", "--without-pip", str(venv)]
        fill = [*python, "-m", "pip", "--python", str(venv_python(venv)), "install", "-q", "pip"]
        ways.append(("venv and the system's pip", [bare, fill]))
    return ways


def answers(python: list[str], code: str) -> bool:
    """Whether `code` runs to its end in that Python."""
    quiet = subprocess.DEVNULL
    try:
        return subprocess.call([*python, "-c", code], stdout=quiet, stderr=quiet) == 0
    except OSError:
        return False


def make_venv(venv: Path) -> None:
    """Make `venv` unless a working one is there; a broken one is made anew."""
    inside = [str(venv_python(venv))]
    version = version_of(inside)
    if version and version >= OLDEST:
        add_pip(inside)
        return
    if venv.exists():
        if any(venv.iterdir()) and not (venv / "pyvenv.cfg").exists():
            raise Stop(f"{venv} is in the way: it is no virtual environment. Move it.")
        say(f"{venv} holds no working Python 3.11 or newer: made anew")
        shutil.rmtree(str(venv))
    python = find_python()
    ways = ways_to_make(venv, python)
    if not ways:
        raise Stop(no_way(python))
    said = ""
    for name, commands in ways:
        say(f"making a virtual environment in {venv} (with {name})")
        for command in commands:
            code, said = run_quietly(command)
            if code:
                break
        else:
            return
        shutil.rmtree(str(venv), ignore_errors=True)
    raise Stop("No virtual environment could be made:\n" + said)


def add_pip(python: list[str]) -> None:
    """Bring pip into a virtual environment that was made without it, as `uv` makes them."""
    uv = shutil.which("uv") or "uv"
    alone = [*python, "-m", "ensurepip"]
    helped = [uv, "pip", "install", "--python", *python, "pip"]
    for command in (alone, helped):
        if answers(python, "import pip"):
            return
        run_quietly(command)
    if not answers(python, "import pip"):
        raise Stop(f"{python[0]} has no pip and none can be had. Remove that environment.")


def no_way(python: list[str] | None) -> str:
    """What is missing, and the line that brings it."""
    if python is None:
        return (
            "This is Python {}.{}; headroom needs Python 3.11 or newer, and PATH has none. Install "
            "one (python.org, your system's packages, or `uv`), then run this line again."
        ).format(*sys.version_info[:2])
    return (
        "This Python cannot make a virtual environment: its `ensurepip` is missing. On Debian and "
        "Ubuntu `sudo apt install python3-venv` brings it; `uv` or `virtualenv` on PATH do as well."
    )


# --- which torch ----------------------------------------------------------------------------


def has_nvidia() -> bool:
    return Path("/proc/driver/nvidia").exists() or bool(shutil.which("nvidia-smi"))


def has_rocm() -> bool:
    return Path("/dev/kfd").exists() or bool(shutil.which("rocm-smi"))


def names_an_index(environment: Iterable[str], pip_config: str) -> bool:
    """Whether pip was already told where to look: by a PIP_ variable or in one of its files.

    `pip_config` is what `pip config list` prints: lines such as `global.index-url='...'`.
    """
    named = [name[4:] for name in environment if name.startswith("PIP_")]
    named += [line.split("=")[0].rsplit(".", 1)[-1] for line in pip_config.splitlines()]
    return any(name.lower().replace("_", "-") in INDEX_SETTINGS for name in named)


def wanted_builds(system: str, nvidia: bool, rocm: bool, driver: str) -> list[str]:
    """Which builds of torch are better than the one a plain install takes; best first.

    On Linux a plain install brings gigabytes of CUDA, of no use without an NVIDIA card. On Windows
    it brings the CPU build, where a card needs the CUDA build of a version its driver knows
    (`driver` is what `nvidia-smi` prints). Elsewhere the plain one is right.
    """
    if system == "linux" and not nvidia and not rocm:
        return ["cpu"]
    if system == "win32" and nvidia:
        known = re.search(r"CUDA Version: (\d+)\.(\d+)", driver)
        newest = int(known.group(1)) * 10 + int(known.group(2)) if known else 0
        return [f"cu{cuda}" for cuda in (130, 128, 126) if cuda <= newest]
    return []


def offers(build: str, torch: str) -> str | None:
    """The address of that build's index if it answers at once and has this torch, else None."""
    index = TORCH_WHEELS + build
    try:
        with urllib.request.urlopen(index + "/torch/", timeout=5) as page:
            listed = page.read().decode("utf-8", "replace")
    except (OSError, ValueError):  # URLError, time-outs and TLS faults are all OSError
        return None
    found = re.search(f"torch-{re.escape(torch)}(%2B|\\+){build}-", listed)
    return index if found else None


def torch_options(python: Path) -> list[str]:
    """What to add to `pip install` so that the fitting build of torch comes, if anything."""
    config = run_quietly([str(python), "-m", "pip", "config", "list"])[1]
    if names_an_index(os.environ, config):
        return []  # where packages come from is already decided here
    nvidia = has_nvidia()
    driver = run_quietly(["nvidia-smi"])[1] if nvidia and sys.platform == "win32" else ""
    builds = wanted_builds(sys.platform, nvidia, has_rocm(), driver)
    if has_rocm() and not nvidia:
        say("an AMD card: for its speed, install torch's ROCm build into .venv yourself")
    for build in builds:
        index = offers(build, pinned("torch"))
        if index:
            say(f"torch comes in its {build} build, from {index}")
            return ["--extra-index-url", index]
    if builds:
        say(f"torch's {builds[0]} build is out of reach: the plain one is taken")
    return []


def has_mlx(system: str, machine: str, version: str) -> bool:
    """Whether mlx is built for a machine: Apple's chips from macOS 14 on, and Linux with a GNU C
    library from 2.35 on. `version` is that of macOS, or of the library."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if system == "darwin":
        return machine == "arm64" and numbers >= (14,)
    return system == "linux" and machine in ("x86_64", "aarch64") and numbers >= (2, 35)


def of_tests() -> set[str]:
    """The extras that the tests are run with here; those of mlx are skipped where it is not."""
    version = platform.mac_ver()[0] if sys.platform == "darwin" else platform.libc_ver()[1]
    return {"test", "mlx"} if has_mlx(sys.platform, platform.machine(), version) else {"test"}


def pinned(package: str) -> str:
    """The version that constraints.txt names for a package."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    found = re.search(f"(?m)^{re.escape(package)}==([^\\s;]+)", text)
    return found.group(1) if found else ""


# --- the installation -----------------------------------------------------------------------


def fingerprint(root: Path, python_version: str) -> str:
    """Changes with everything that makes an installation stale, except the extras."""
    seen = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        seen.update((root / name).read_bytes().replace(b"\r\n", b"\n"))
    seen.update(f"{root}\n{python_version}".encode())
    return seen.hexdigest()


def read_stamp(stamp: Path) -> tuple[str, set[str]]:
    """What was installed last: its fingerprint and extras; empty where there is no stamp."""
    try:
        kept = json.loads(stamp.read_text(encoding="utf-8"))
        return str(kept["fingerprint"]), set(kept["extras"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", set()


def install(venv: Path, extras: set[str]) -> None:
    """`pip install -e .[extras]` in `venv`, unless exactly that was done before."""
    python, stamp = venv_python(venv), venv / "headroom-installed.json"
    version = ".".join(str(part) for part in version_of([str(python)]) or ())
    now = fingerprint(ROOT, version)
    before, there = read_stamp(stamp)
    if before == now and extras <= there:
        return
    wanted = extras | there
    if stamp.exists():
        stamp.unlink()
    what = str(ROOT) + ("[{}]".format(",".join(sorted(wanted))) if wanted else "")
    options = ["-c", str(ROOT / "constraints.txt"), *torch_options(python)]
    pip = [str(python), "-m", "pip"]
    say(f"installing {what} (the first time takes some minutes)")
    code, tail = run_quietly([*pip, "install", "--no-user", *options, "-e", what], live=True)
    if code:
        raise Stop(
            "The installation failed; pip's last lines are below. Without a network connection, "
            "or with a Python for which torch has no build yet, this is what happens.\n" + tail
        )
    fresh = stamp.with_suffix(".new")
    text = json.dumps({"fingerprint": now, "extras": sorted(wanted)})
    fresh.write_text(text, encoding="utf-8")
    os.replace(str(fresh), str(stamp))


# --- running things -------------------------------------------------------------------------


def say(line: str) -> None:
    print("start.py: " + line, file=sys.stderr, flush=True)


def run_quietly(command: list[str], live: bool = False) -> tuple[int, str]:
    """Exit code and last lines of a command; `live` shows its latest line on a terminal."""
    tail: collections.deque[str] = collections.deque(maxlen=12)
    width = shutil.get_terminal_size().columns - 1
    live = live and sys.stderr.isatty()
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        return 1, str(error)
    with process:
        for line in process.stdout or ():
            tail.append(line.rstrip())
            if live:
                print("\r" + tail[-1].strip()[:width].ljust(width), end="", file=sys.stderr)
    if live:
        print("\r" + " " * width + "\r", end="", file=sys.stderr, flush=True)
    return process.returncode, "\n".join(tail)


def become(command: list[str]) -> NoReturn:
    """Hand over to a command: its exit code is ours, and Ctrl-C reaches it."""
    sys.stdout.flush()
    if os.name != "nt":
        os.execv(command[0], command)
    process = subprocess.Popen(command)  # Windows has no exec that keeps the terminal
    while True:
        try:
            sys.exit(process.wait())
        except KeyboardInterrupt:
            continue  # the command got it too, and ends by itself


COMMANDS = {"song": "generate", "ui": "ui", "4gb": "4gb", "serve": "serve"}
EXTRAS = {"song": set, "test": of_tests}  # by verb, what is installed
EXTRAS.update(dict.fromkeys(("ui", "4gb", "serve"), lambda: {"ui"}))


def main(words: list[str]) -> int:
    verb, rest = (words[0], words[1:]) if words else ("", [])
    python = str(venv_python(VENV))
    if verb in ("-h", "--help"):
        print(__doc__)
        return 0
    if verb not in EXTRAS or (verb == "song" and not rest):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        make_venv(VENV)
        install(VENV, EXTRAS[verb]())
    except Stop as reason:
        print(f"start.py: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstart.py: stopped; the same line goes on from here.", file=sys.stderr)
        return 130
    if verb == "test":
        become([python, str(ROOT / "scripts" / "test"), "--all", *rest])
    become([python, "-m", "headroom", COMMANDS[verb], *rest])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
