#!/usr/bin/env python3
"""Write the bundled speech model: `python training/speech.py --out FOLDER`.

Its layout, its files and its networks are those of the released model, at tiny sizes; its weights
are drawn at random, from a seed. What it says is noise.

--package   write into the package itself
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from headroom.models.stepaudio.catalogue import BUNDLED, TINY  # noqa: E402
from support.speech_checkpoint import write_checkpoint  # noqa: E402


def write(out: Path) -> int:
    """Write the two folders of the model → their bytes. What is there is replaced."""
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), name=TINY)
        for made in Path(folder).iterdir():
            shutil.rmtree(out / made.name, ignore_errors=True)
            shutil.copytree(made, out / made.name)
    return sum(file.stat().st_size for file in out.rglob("*") if file.is_file())


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, metavar="FOLDER")
    where.add_argument("--package", action="store_true")
    args = parser.parse_args(words)
    out = BUNDLED if args.package else args.out
    print(f"{out}: {write(out) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
