"""A whole song at the real 2B sizes: text encoder, 8 steps, decode; ours and diffusers' pipeline.

Both take the same random weights in the same process, in turn. Ours is the product's own path
(`render` under a Run with every part in memory), diffusers' is AceStepPipeline as it comes.
Nothing is loaded while the clock runs.

    python benchmarks/song.py [--seconds 30] [--repeats 5] [--compile]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import common
import torch
from peers import DIT, TEXT, VAE, networks

from headroom.device import open_device
from headroom.hardware.probe import probe_device
from headroom.memory.planner import plan
from headroom.models.acestep.cost.components import Networks
from headroom.models.acestep.cost.footprint import songs_footprint
from headroom.models.acestep.networks import component_names
from headroom.models.acestep.networks.config import dit_config, text_encoder_config
from headroom.models.acestep.rendering.assets import Assets
from headroom.models.acestep.rendering.render import render
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.text.prompts import PromptTokenizer
from headroom.nn.oobleck_layout import OobleckConfig
from headroom.nn.oobleck_tiles import prepare
from headroom.runtime.compiled import compile_calls
from headroom.runtime.pool import Pool
from headroom.runtime.run import Run

CACHE = Path(tempfile.gettempdir()) / "headroom-benchmarks"
WARM_SECONDS = 6.0
CAPTION = "slow bossa nova, nylon guitar, brushed drums, a warm night by the sea"
LYRICS = "[Verse]\n" + "the moon is low above the quiet bay\n" * 12


def pipeline(pair: dict, silence: torch.Tensor):
    """diffusers' own pipeline around the peer's modules."""
    from diffusers import AceStepPipeline, FlowMatchEulerDiscreteScheduler
    from transformers import PreTrainedTokenizerFast

    from support.tokenizer import byte_tokenizer

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(), pad_token="<|endoftext|>", eos_token="<|endoftext|>"
    )
    condition = pair["condition"].peer
    condition.silence_latent = silence
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0)
    pipe = AceStepPipeline(
        pair["vae"].peer, pair["text"].peer, tokenizer, pair["dit"].peer, condition, scheduler
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--save", action="store_true", help="keep it in benchmarks/results")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    dtype = getattr(torch, args.dtype)
    torch.set_grad_enabled(False)
    pair = networks(dtype, whole=True)
    silence = torch.randn(1, 15000, 64) * 0.1
    from support.tokenizer import byte_tokenizer

    config = dit_config(DIT)
    assets = Assets(config, silence, PromptTokenizer(byte_tokenizer()))
    device = open_device("cpu")
    loaders = {
        component_names.TEXT_ENCODER: lambda: pair["text"].ours,
        component_names.CONDITIONER: lambda: pair["condition"].ours,
        component_names.TIME: lambda: pair["time"].ours,
        component_names.DIT: lambda: pair["dit"].ours,
        component_names.VAE_DECODER: lambda: pair["vae"].ours,
    }
    pool = Pool(device, loaders)
    sizes = Networks(config, text_encoder_config(TEXT), OobleckConfig.parse(VAE), args.dtype)
    request = Text2Music(caption=CAPTION, lyrics=LYRICS, duration=args.seconds)
    songs = compose(request, VARIANTS["acestep-v15-turbo"], (1,)).songs
    prepare(pair["vae"].ours, compiled=False)
    machine = probe_device(device)
    # The weights are in memory already, so what they take is not free any more.
    planned = plan(songs_footprint(songs, sizes), replace(machine, free=machine.total))
    stages: dict[str, list[float]] = {}

    def ours(songs: tuple[Song, ...] = songs) -> None:
        run = Run(planned, pool, device)
        render(songs, run, assets)
        for stage in run.report:
            stages.setdefault(stage.stage, []).append(stage.seconds)

    pipe = pipeline(pair, silence.to(dtype))

    def theirs(seconds: float = args.seconds) -> None:
        pipe(
            prompt=CAPTION,
            lyrics=LYRICS,
            audio_duration=seconds,
            num_inference_steps=8,
            guidance_scale=1.0,
            generator=torch.Generator().manual_seed(1),
        )

    # A short song of each touches every weight; the clock starts after it.
    short = Text2Music(caption=CAPTION, lyrics=LYRICS, duration=WARM_SECONDS)
    ours(compose(short, VARIANTS["acestep-v15-turbo"], (1,)).songs)
    theirs(WARM_SECONDS)
    stages.clear()
    took = common.alternate({"diffusers": theirs, "ours": ours}, args.repeats)
    told = {name: round(statistics.median(turns), 3) for name, turns in stages.items()}
    compiling = None
    if args.compile:
        calls = [*pair["dit"].ours.pieces(), (pair["vae"].ours, "wide")]
        compile_calls(calls, device.torch, CACHE)
        compiling = common.seconds(ours)
        took["ours compiled"] = common.alternate({"ours compiled": ours}, args.repeats)[
            "ours compiled"
        ]
    theirs_s = took["diffusers"].median
    for name, timing in took.items():
        print(f"  {name:<14} {timing.median:8.2f} s, {theirs_s / timing.median:.2f} x diffusers")
    result = {
        "dtype": args.dtype,
        "seconds_of_audio": args.seconds,
        "timing_s": {name: asdict(t) for name, t in took.items()},
        "ratio": {name: round(theirs_s / t.median, 3) for name, t in took.items()},
        "times_real_time": {n: round(args.seconds / t.median, 3) for n, t in took.items()},
        "stages_of_ours_s": told,
        "first_song_with_compiling_s": compiling,
        "ceiling": asdict(common.ceiling(dtype)),
    }
    common.finish("song", result, args.save)


if __name__ == "__main__":
    main()
