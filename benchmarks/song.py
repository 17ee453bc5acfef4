"""A whole song at the real 2B sizes: text encoder, 8 steps, decode; ours and diffusers' pipeline.

Both take the same random weights in the same process, in turn. Ours is the product's own path
(`render` under a Run with every part in memory), diffusers' is AceStepPipeline as it comes.
Nothing is loaded while the clock runs.

    python benchmarks/song.py [--seconds 30] [--repeats 5] [--compile]
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import common
import psutil
import torch
from peers import DIT, TEXT, VAE, networks

from headroom.device import open_device
from headroom.hardware.probe import probe
from headroom.memory.planner import plan
from headroom.models.acestep import parts
from headroom.models.acestep.compose import compose
from headroom.models.acestep.config import dit_config, text_encoder_config
from headroom.models.acestep.footprint import Networks, footprint
from headroom.models.acestep.prompts import PromptTokenizer
from headroom.models.acestep.render import Assets, render
from headroom.models.acestep.requests import Text2Music
from headroom.models.acestep.variants import VARIANTS
from headroom.nn.oobleck_layout import OobleckConfig
from headroom.runtime.pool import Pool
from headroom.runtime.run import Run

CAPTION = "slow bossa nova, nylon guitar, brushed drums, a warm night by the sea"
LYRICS = "[Verse]\n" + "the moon is low above the quiet bay\n" * 12


def pipeline(pair: dict, silence: torch.Tensor):
    """diffusers' own pipeline around the peer's modules."""
    from diffusers import AceStepPipeline, FlowMatchEulerDiscreteScheduler
    from support.tokenizer import byte_tokenizer
    from transformers import PreTrainedTokenizerFast

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
    parser.add_argument("--out", type=Path)
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
        parts.TEXT_ENCODER: lambda: pair["text"].ours,
        parts.CONDITIONER: lambda: pair["condition"].ours,
        parts.TIME: lambda: pair["time"].ours,
        parts.DIT: lambda: pair["dit"].ours,
        parts.VAE_DECODER: lambda: pair["vae"].ours,
    }
    pool = Pool(device, loaders)
    sizes = Networks(config, text_encoder_config(TEXT), OobleckConfig.parse(VAE), args.dtype)
    request = Text2Music(caption=CAPTION, lyrics=LYRICS, duration=args.seconds)
    songs = compose(request, VARIANTS["acestep-v15-turbo"], (1,)).songs
    planned = plan(footprint(songs, sizes), probe(device))
    stages: dict[str, list[float]] = {}

    def ours() -> None:
        run = Run(planned, pool, device)
        render(songs, run, assets)
        for stage in run.report:
            stages.setdefault(stage.stage, []).append(stage.seconds)

    pipe = pipeline(pair, silence.to(dtype))

    def theirs() -> None:
        pipe(
            prompt=CAPTION,
            lyrics=LYRICS,
            audio_duration=args.seconds,
            num_inference_steps=8,
            guidance_scale=1.0,
            generator=torch.Generator().manual_seed(1),
        )

    spent = common.in_turn({"diffusers": theirs, "ours": ours}, args.repeats)
    if args.compile:
        from headroom.runtime.prepare import compile_part

        for name in (parts.DIT, parts.VAE_DECODER):
            compile_part(loaders[name](), device.torch)
        compiling = common.timed(ours)
        spent["ours compiled"] = common.in_turn({"ours": ours}, args.repeats)["ours"]
        print(f"first song with compiling: {compiling:.1f} s")
    seconds = {name: common.median(turns) for name, turns in spent.items()}
    common.show(seconds)
    common.show({f"ours: {k}": common.median(v) for k, v in stages.items()})
    result = {
        "benchmark": "song",
        "dtype": args.dtype,
        "seconds_of_audio": args.seconds,
        "median_s": {k: round(v, 3) for k, v in seconds.items()},
        "ratio": {k: round(seconds["diffusers"] / v, 3) for k, v in seconds.items()},
        "times_real_time": {k: round(args.seconds / v, 3) for k, v in seconds.items()},
        "stages_s": {k: round(common.median(v), 3) for k, v in stages.items()},
        "gflops_of_a_product": round(common.matmul_rate(375, 2048, 6144, dtype) / 1e9, 1),
        "peak_rss_gib": round(psutil.Process().memory_info().rss / 2**30, 2),
        "machine": common.card(),
    }
    common.finish(result, args.out)


if __name__ == "__main__":
    main()
