"""The long proofs: what takes too long for every day, run by hand, results committed.

    python scripts/prove               lists them, a line each
    python scripts/prove NAME [flags]  runs one of them
    python scripts/prove all           runs all, one after the other

A proof is a program in this folder, `scripts/prove/NAME.py`. The first line of its docstring says
what it proves; it exits with 0 when the proof holds.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def proofs() -> dict[str, Path]:
    """Name -> program, in alphabetical order."""
    return {file.stem: file for file in sorted(HERE.glob("*.py")) if file.stem != "__main__"}


def claim(program: Path) -> str:
    """The first line of a program's docstring."""
    tree = ast.parse(program.read_text(encoding="utf-8"), str(program))
    return (ast.get_docstring(tree) or "says nothing of itself").splitlines()[0]


def prove(program: Path, flags: list[str]) -> int:
    """Run one proof from the root of the repository; its exit code."""
    print(f"== {program.stem}: {claim(program)}", flush=True)
    return subprocess.call([sys.executable, str(program), *flags], cwd=ROOT)


def main(words: list[str]) -> int:
    known = proofs()
    if not words:
        print("\n".join(f"{name:<16} {claim(program)}" for name, program in known.items()))
        return 0
    name, flags = words[0], words[1:]
    if name == "all":
        failed = [name for name, program in known.items() if prove(program, flags)]
        print("prove: " + (f"failed: {', '.join(failed)}" if failed else "all hold"))
        return 1 if failed else 0
    if name not in known:
        print(f"prove: {name!r} is not known; known: {', '.join(known)}", file=sys.stderr)
        return 2
    return prove(known[name], flags)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
