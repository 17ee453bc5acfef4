"""`acestep models list | download | verify`, and the older `acestep-download`: model folders."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from headroom import settings as environment
from headroom import terminal
from headroom.cli.far import add_remote_flag, only_here, under_flag
from headroom.cli.model_table import print_of_service, print_table, row_of, usual
from headroom.errors import HeadroomError, InvalidRequest, WeightsMissing
from headroom.models.registry import USUAL, family_named
from headroom.settings import Settings
from headroom.settings.fields import SOURCES
from headroom.units import gib
from headroom.weights.catalog import MAIN, Catalogue, Installed, checkpoint_dirs
from headroom.weights.order import company, elsewhere, named
from headroom.weights.verify import Verified, verify

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from headroom.weights.fetch import Downloaded, Transfer


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
    add_remote_flag(listing)
    fetching = acts.add_parser("download", help="fetch models, resumed and checked")
    fetching.add_argument("names", nargs="*", metavar="NAME", help="as `models list` shows them")
    fetching.add_argument("--all", action="store_true", help="every released model")
    fetching.add_argument("--force", action="store_true", help="fetch also what is there")
    fetching.add_argument("--dry-run", action="store_true", help="say what would come, and end")
    fetching.add_argument("--source", choices=SOURCES, help="auto: Hugging Face, then ModelScope")
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
    settings = environment.load()
    if args.act == "list":
        settings = under_flag(settings, args)
        if settings.remote is not None:
            return _list_elsewhere(wish, settings)
    return carry_out(wish, settings)


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
        choices=SOURCES,
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
    present = _Here(folders.catalogue, dirs, folders.catalogue.installed(dirs))
    match wish.act:
        case "list":
            return _list(wish, present)
        case "verify":
            return _verify(wish, settings, present)
        case _:
            return _download(wish, settings, present)


@dataclass(frozen=True, slots=True)
class _Here:
    """A family's released models, the folders that are searched, and what is in them."""

    catalogue: Catalogue
    dirs: Sequence[Path]
    items: Sequence[Installed]

    @property
    def by_name(self) -> dict[str, Installed]:
        """Models by name. A bundled part never stands for the released one of the same name."""
        models = self.catalogue.models
        return {i.name: i for i in self.items if not (i.bundled and i.name in models)}


def _list_elsewhere(wish: Wish, settings: Settings) -> int:
    """The models of a service elsewhere."""
    from headroom.client import Client

    only_here(settings, checkpoint_dir=wish.folder)
    with Client(family=wish.family, settings=settings) as client:
        told = client.models()
    if wish.json:
        _out(told)
    else:
        print_of_service(terminal.console(sys.stdout), told)
    return 0


def _without_folders(wish: Wish) -> int:
    """The answer for a family that needs no weights. Raises InvalidRequest except for `list`."""
    if wish.act != "list":
        raise InvalidRequest("family", wish.family, "a family that has model folders")
    if wish.json:
        _out({"best": None, "folders": [], "models": []})
    else:
        sys.stdout.write(f"{wish.family} has no model folders: there is nothing to download\n")
    return 0


def _list(wish: Wish, local: _Here) -> int:
    released, installed = local.catalogue.models, local.by_name
    best = local.catalogue.best(local.items)
    names = dict.fromkeys((*released, *installed))
    rows = [row_of(name, released.get(name), installed.get(name)) for name in names]
    if wish.json:
        _out({
            "best": best.name if best else None,
            "folders": [str(place) for place in local.dirs],
            "models": rows,
        })  # fmt: skip
        return 0
    console = terminal.console(sys.stdout)
    print_table(console, rows)
    for item in local.items:
        lacks = f"cannot be used without {' and '.join(item.lacks)}" if item.lacks else ""
        for fault in filter(None, (*item.faults, lacks)):
            console.print(f"{item.folder}: {fault}", markup=False, soft_wrap=True)
    groups = {
        f"`{MAIN}` ({local.catalogue.main})": local.catalogue.of_main,
        "--all": local.catalogue.official,
    }
    sizes = {name: sum(model.nbytes for model in group) for name, group in groups.items()}
    console.print("to download: " + ", ".join(f"{name} {gib(n)}" for name, n in sizes.items()))
    console.print(f"looked in: {', '.join(map(str, local.dirs))}", markup=False, soft_wrap=True)
    console.print(usual(best.name if best else None))
    return 0


def _download(wish: Wish, settings: Settings, local: _Here) -> int:
    notes: list[str] = []
    models, into = local.catalogue.models, local.dirs[0]
    names = _asked(wish, local)
    if wish.company:
        names += company(local.catalogue, names, local.items)
    there = {} if wish.folder or wish.force else elsewhere(names, into, local.items)
    names = [name for name in names if name not in there]
    notes += [f"{name}: is already in {folder}." for name, folder in there.items()]
    if names:  # offline, installed models suffice
        from headroom.weights.fetch import download
        from headroom.weights.sources import sources

        places = sources(wish.source or settings.download_source, wish.token or settings.hf_token)
    with _bar(wish, settings) as progress:
        for sentence in notes:
            progress.console.print(sentence, markup=False, highlight=False, soft_wrap=True)
        task = progress.add_task("", total=None)

        def show(at: Transfer) -> None:
            words = terminal.visible(f"{at.model} {at.file}")
            progress.update(task, description=words, completed=at.done, total=at.total)

        def say(sentence: str) -> None:
            notes.append(sentence)
            progress.console.print(sentence, markup=False, highlight=False, soft_wrap=True)

        chosen = [models[name] for name in names]
        results = (
            download(chosen, into, places, force=wish.force, dry=wish.dry, show=show, report=say)
            if chosen
            else []
        )
    if wish.json:
        _out({"downloaded": [_told(result) for result in results], "notes": notes})
        return 0
    for result in results:
        came = f"{gib(result.fetched)} from {result.source}" if result.fetched else "was all there"
        sys.stdout.write(f"{result.model}: {came}; {result.folder}\n")
    return 0


def _asked(wish: Wish, local: _Here) -> list[str]:
    if wish.all:
        return [model.name for model in local.catalogue.official]
    if not wish.names:
        published = [model.name for model in local.catalogue.published]
        raise InvalidRequest("NAME", "", f"--all, {MAIN}, {', '.join(published)}")
    return named(local.catalogue, wish.names, "NAME")


def _verify(wish: Wish, settings: Settings, local: _Here) -> int:
    installed, released = local.by_name, local.catalogue.models
    if wish.folder is not None:
        local.catalogue.check_place(wish.folder)
    for name in wish.names:
        if name not in installed:
            if name not in released:
                raise InvalidRequest("NAME", name, ", ".join({**installed, **released}))
            how = f"fetch it with `acestep models download {name}`"
            raise WeightsMissing(name, [str(place) for place in local.dirs], how)
    chosen = [installed[name] for name in wish.names] if wish.names else list(local.items)
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
            sys.stdout.write(_verdict(name, result, name in released))
    return 1 if any(result.faults for _, result in results) else 0


def _verdict(name: str, result: Verified, released: bool) -> str:
    if result.faults:
        lines = "".join(f"  {fault}\n" for fault in result.faults)
        return f"{name}: damaged, {result.folder}\n{lines}" + (
            f"  repair it with `acestep models download {name}`\n" if released else ""
        )
    how = f"{result.hashed} of {result.files} files held against their checksums"
    if not result.hashed:
        how = "sizes as the headers say; no checksums are known here"
    return f"{name}: whole, {gib(result.nbytes)}, {how}\n"


def _told(result: Downloaded | Verified) -> dict[str, object]:
    value = asdict(result)
    return {"bytes": value.pop("nbytes"), **value}


def _people() -> Console:
    """The stream for people; standard output is for results."""
    return terminal.console(sys.stderr)


@contextmanager
def _bar(wish: Wish, settings: Settings) -> Iterator[Progress]:
    """A progress bar of bytes on standard error, shown only on a terminal."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

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


def _out(value: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n")
