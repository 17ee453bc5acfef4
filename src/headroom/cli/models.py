"""`acestep models list | download | verify`, and the older `acestep-download`: model folders."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from headroom import paths, terminal
from headroom import settings as environment
from headroom.errors import HeadroomError, InvalidRequest, WeightsMissing
from headroom.models.registry import USUAL, family_named
from headroom.settings import Settings
from headroom.units import gib
from headroom.weights import catalog
from headroom.weights.catalog import (
    BUNDLE,
    MAIN,
    MODELS,
    Installed,
    Model,
    check_place,
    checkpoint_dirs,
)
from headroom.weights.verify import Verified, verify

if TYPE_CHECKING:
    from headroom.weights.fetch import Downloaded, Transfer

_SOURCES = ("auto", "huggingface", "modelscope")
_SUMS: tuple[tuple[str, Callable[[Model], bool]], ...] = (
    (f"`{MAIN}` ({BUNDLE})", lambda model: model.repo == BUNDLE),
    ("--all", lambda model: model.official),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a command line requests, independent of which program it belongs to."""

    act: str
    names: tuple[str, ...] = ()
    all: bool = False
    force: bool = False
    dry: bool = False
    source: str | None = None
    token: str | None = None
    folder: Path | None = None
    json: bool = False
    company: bool = True  # a DiT brings the models it needs
    family: str = USUAL


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `models` and its three subcommands."""
    parser = subparsers.add_parser(
        "models", help="list, download and verify model folders", allow_abbrev=False
    )
    acts = parser.add_subparsers(dest="act", required=True, metavar="list | download | verify")
    listing = acts.add_parser("list", help="what there is and what is installed")
    fetching = acts.add_parser("download", help="fetch models, resumed and checked")
    fetching.add_argument("names", nargs="*", metavar="NAME", help="as `models list` shows them")
    fetching.add_argument("--all", action="store_true", help="every released model")
    fetching.add_argument("--force", action="store_true", help="fetch also what is there")
    fetching.add_argument("--dry-run", action="store_true", help="say what would come, and end")
    fetching.add_argument("--source", choices=_SOURCES, help="auto: Hugging Face, then ModelScope")
    fetching.add_argument(
        "--token", help="for Hugging Face; better said in HF_TOKEN, where no one reads along"
    )
    checking = acts.add_parser("verify", help="hold files against sizes, checksums and headers")
    checking.add_argument("names", nargs="*", metavar="NAME", help="left out: all that are here")
    for act in (listing, fetching, checking):
        # No default, so that a flag before the subcommand is not overwritten.
        act.add_argument(
            "--checkpoint-dir", type=Path, default=argparse.SUPPRESS, metavar="FOLDER",
            help="folder of the model folders",
        )  # fmt: skip
        act.add_argument(
            "--family", default=argparse.SUPPRESS, metavar="NAME", help="family of models"
        )
        act.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object"
        )


def run(args: argparse.Namespace) -> int:
    """Run `models …`; returns the exit code. Raises HeadroomError."""
    folder = getattr(args, "checkpoint_dir", None)
    wish = Wish(
        act=args.act,
        names=tuple(getattr(args, "names", ())),
        all=getattr(args, "all", False),
        force=getattr(args, "force", False),
        dry=getattr(args, "dry_run", False),
        source=getattr(args, "source", None),
        token=getattr(args, "token", None),
        folder=Path(folder) if folder else None,
        json=getattr(args, "json", False),
        family=getattr(args, "family", USUAL),
    )
    return carry_out(wish, environment.load())


def download_main(argv: Sequence[str] | None = None) -> int:
    """Run `acestep-download` with its old flags. 0, 1 (failed), 2 (bad input)."""
    parser = argparse.ArgumentParser(
        prog="acestep-download",
        description="Download ACE-Step models. The same as `acestep models download`.",
    )
    parser.add_argument("--model", "-m", metavar="NAME", help="a model; without it: main")
    parser.add_argument("--all", "-a", action="store_true", help="every released model")
    parser.add_argument("--list", "-l", action="store_true", help="show the models")
    parser.add_argument("--dir", "-d", type=Path, metavar="FOLDER", help="where to put them")
    parser.add_argument("--force", "-f", action="store_true", help="fetch also what is there")
    parser.add_argument(
        "--source",
        "--download-source",
        choices=_SOURCES,
        help="auto: Hugging Face, then ModelScope",
    )
    parser.add_argument("--token", "-t", help="for Hugging Face")
    parser.add_argument(
        "--skip-main", action="store_true", help="the named model only, not the main ones too"
    )
    args = parser.parse_args(argv)
    named = (args.model,) if args.model else ()
    if not args.skip_main or not named:
        named = (MAIN, *named)
    wish = Wish(
        act="list" if args.list else "download",
        names=() if args.all else tuple(dict.fromkeys(named)),
        all=args.all,
        force=args.force,
        source=args.source,
        token=args.token,
        folder=args.dir,
        company=not args.skip_main,
    )
    try:
        return carry_out(wish, environment.load())
    except HeadroomError as error:
        _people().print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return error.exit_code


def carry_out(wish: Wish, settings: Settings) -> int:
    """List, download or verify; returns the exit code. Raises HeadroomError."""
    folders = family_named(wish.family).folders
    if folders is None:
        return _without_folders(wish)
    dirs = checkpoint_dirs(settings, wish.folder)
    items = catalog.installed(dirs, folders.bundled)
    match wish.act:
        case "list":
            return _list(wish, dirs, items)
        case "verify":
            return _verify(wish, settings, dirs, items)
        case _:
            return _download(wish, settings, dirs, items)


def _without_folders(wish: Wish) -> int:
    """The answer for a family that needs no weights. Raises InvalidRequest except for `list`."""
    if wish.act != "list":
        raise InvalidRequest("family", wish.family, "a family that has model folders")
    if wish.json:
        _out({"best": None, "folders": [], "models": []})
    else:
        sys.stdout.write(f"{wish.family} has no model folders: there is nothing to download\n")
    return 0


def _list(wish: Wish, dirs: Sequence[Path], items: Sequence[Installed]) -> int:
    here = _by_name(items)
    best = catalog.best(items)
    rows = [_row(name, here.get(name)) for name in dict.fromkeys((*MODELS, *here))]
    if wish.json:
        _out({
            "best": best.name if best else None,
            "folders": [str(place) for place in dirs],
            "models": rows,
        })  # fmt: skip
        return 0
    table = Table(box=None, pad_edge=False)
    for title in ("model", "size", "here", "about"):
        side: Literal["left", "right"] = "right" if title == "size" else "left"
        table.add_column(title, justify=side, no_wrap=title != "about")
    for row in rows:
        size = row["bytes"]
        assert isinstance(size, int)
        shown = gib(size) if size else "-"
        table.add_row(str(row["name"]), shown, str(row["state"]), str(row["about"]))
    console = terminal.console(sys.stdout)
    console.print(table)
    for item in items:
        lacks = f"cannot be used without {' and '.join(item.lacks)}" if item.lacks else ""
        for fault in filter(None, (*item.faults, lacks)):
            console.print(f"{item.folder}: {fault}", markup=False, soft_wrap=True)
    sizes = {name: sum(m.nbytes for m in MODELS.values() if test(m)) for name, test in _SUMS}
    console.print("to download: " + ", ".join(f"{name} {gib(n)}" for name, n in sizes.items()))
    console.print(f"looked in: {', '.join(map(str, dirs))}", markup=False, soft_wrap=True)
    console.print(f"used where none is named: {best.name if best else 'none, there is none'}")
    return 0


def _row(name: str, item: Installed | None) -> dict[str, object]:
    model = MODELS.get(name)
    state = "no" if model is None or model.repo else "unpublished"
    if item is not None:
        state = "incomplete" if item.faults else "bundled" if item.bundled else "yes"
        if item.whole and item.lacks:
            state = "lacking"
    return {
        "name": name,
        "kind": model.kind if model else item.kind if item else None,
        "state": state,
        "ready": bool(item and item.ready),
        "bytes": item.nbytes if item and item.whole else model.nbytes if model else 0,
        "folder": str(item.folder) if item else None,
        "faults": list(item.faults) if item else [],
        "lacks": list(item.lacks) if item else [],
        "repo": model.repo if model else None,
        "about": model.about if model else "",
    }


def _download(
    wish: Wish, settings: Settings, dirs: Sequence[Path], items: Sequence[Installed]
) -> int:
    said: list[str] = []
    names = _asked(wish)
    if wish.company:
        names += _company(names, items)
    elsewhere = {} if wish.folder or wish.force else _elsewhere(names, dirs[0], items)
    names = [name for name in names if name not in elsewhere]
    said += [f"{name}: is already in {folder}." for name, folder in elsewhere.items()]
    if names:  # offline, installed models suffice
        from headroom.weights.fetch import download
        from headroom.weights.sources import sources

        places = sources(wish.source or settings.download_source, wish.token or settings.hf_token)
    with _bar(wish, settings) as progress:
        for sentence in said:
            progress.console.print(sentence, markup=False, highlight=False, soft_wrap=True)
        task = progress.add_task("", total=None)

        def show(at: Transfer) -> None:
            words = terminal.visible(f"{at.model} {at.file}")
            progress.update(task, description=words, completed=at.done, total=at.total)

        def say(sentence: str) -> None:
            said.append(sentence)
            progress.console.print(sentence, markup=False, highlight=False, soft_wrap=True)

        results = (
            download(names, dirs[0], places, force=wish.force, dry=wish.dry, show=show, say=say)
            if names
            else []
        )
    if wish.json:
        _out({"downloaded": [_told(result) for result in results], "notes": said})
        return 0
    for result in results:
        came = f"{gib(result.fetched)} from {result.source}" if result.fetched else "was all there"
        sys.stdout.write(f"{result.model}: {came}; {result.folder}\n")
    return 0


def _asked(wish: Wish) -> list[str]:
    main = [name for name, model in MODELS.items() if model.repo == BUNDLE]
    published = [name for name, model in MODELS.items() if model.repo]
    if wish.all:
        return [name for name, model in MODELS.items() if model.official]
    if not wish.names:
        raise InvalidRequest("NAME", "", f"--all, {MAIN}, {', '.join(published)}")
    asked: list[str] = []
    for name in wish.names:
        if name != MAIN and name not in published:
            raise InvalidRequest("NAME", name, f"{MAIN}, {', '.join(published)}")
        asked += main if name == MAIN else [name]
    return list(dict.fromkeys(asked))


def _company(names: Sequence[str], items: Sequence[Installed]) -> list[str]:
    """The models that the named ones need and that are neither named nor complete anywhere."""
    whole = {item.name for item in items if item.whole and not item.bundled}
    needed = dict.fromkeys(other for name in names for other in MODELS[name].beside)
    return [name for name in needed if name not in whole and name not in names]


def _elsewhere(names: Sequence[str], into: Path, items: Sequence[Installed]) -> dict[str, Path]:
    """Models that are complete in a folder other than the one downloads go to."""
    return {
        item.name: item.folder
        for item in items
        if item.name in names
        and item.whole
        and not item.bundled
        and paths.resolved(item.folder.parent) != paths.resolved(into)
    }


def _verify(
    wish: Wish, settings: Settings, dirs: Sequence[Path], items: Sequence[Installed]
) -> int:
    here = _by_name(items)
    if wish.folder is not None:
        check_place(wish.folder)
    for name in wish.names:
        if name not in here:
            if name not in MODELS:
                raise InvalidRequest("NAME", name, ", ".join(dict.fromkeys((*here, *MODELS))))
            how = f"fetch it with `acestep models download {name}`"
            raise WeightsMissing(name, [str(place) for place in dirs], how)
    chosen = [here[name] for name in wish.names] if wish.names else list(items)
    results: list[tuple[str, Verified]] = []
    with _bar(wish, settings) as progress:
        task = progress.add_task("", total=sum(item.nbytes for item in chosen))
        for item in chosen:
            progress.update(task, description=item.name)
            count = _advance(progress, task)
            results.append((item.name, verify(item.folder, item.kind, count)))
    if wish.json:
        _out({
            "verified": [
                {"model": name, "whole": not one.faults, **_told(one)} for name, one in results
            ]
        })  # fmt: skip
    else:
        for name, result in results:
            sys.stdout.write(_verdict(name, result))
    return 1 if any(result.faults for _, result in results) else 0


def _verdict(name: str, result: Verified) -> str:
    if result.faults:
        lines = "".join(f"  {fault}\n" for fault in result.faults)
        return f"{name}: damaged, {result.folder}\n{lines}" + (
            f"  repair it with `acestep models download {name}`\n" if name in MODELS else ""
        )
    how = f"{result.hashed} of {result.files} files held against their checksums"
    if not result.hashed:
        how = "sizes as the headers say; no checksums are known here"
    return f"{name}: whole, {gib(result.nbytes)}, {how}\n"


def _told(result: Downloaded | Verified) -> dict[str, object]:
    value = asdict(result)
    return {"bytes": value.pop("nbytes"), **value}


def _by_name(items: Sequence[Installed]) -> dict[str, Installed]:
    """Models by name. A bundled part never stands for the released one of the same name."""
    return {item.name: item for item in items if not (item.bundled and item.name in MODELS)}


def _people() -> Console:
    """The stream for people; standard output is for results."""
    return terminal.console(sys.stderr)


@contextmanager
def _bar(wish: Wish, settings: Settings) -> Iterator[Progress]:
    """A progress bar of bytes on standard error, shown only on a terminal."""
    console = _people()
    hidden = wish.json or settings.no_progress or not console.is_terminal
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
    )
    with Progress(
        *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console, disable=hidden
    ) as progress:
        yield progress


def _advance(progress: Progress, task: TaskID) -> Callable[[int], None]:
    return lambda count: progress.advance(task, count)


def _out(value: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n")
