"""Write what README.md and the guides in docs/{en,zh,ko,pt}/ take from the code, between markers.

Tables of tiers and flags, and what the program prints, in every language. Words are in
scripts/docs/words.toml; the runs that are shown are in scripts/docs/samples.json, and
`--sample FILE` takes one from a file of `acestep profile --benchmark-output`. `--check` writes
nothing, and ends with 1 where a guide says something else than the code.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from docs.pages import every, filled, path
from docs.samples import take


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--sample", type=Path, action="append", metavar="FILE", default=[])
    args = parser.parse_args()
    for file in args.sample:
        print(f"sample: {take(file)}")
    stale = []
    for guide, language in every():
        page = path(guide, language)
        text = page.read_text("utf-8")
        wanted = filled(text, language)
        if text != wanted:
            stale.append(str(page))
            if not args.check:
                page.write_text(wanted, "utf-8", newline="\n")
    print(
        "\n".join(("stale:" if args.check else "written:", *stale)) if stale else "as it is there"
    )
    return 1 if args.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
