"""VAE decode at the real size: ours (eager, compiled) and diffusers in turn, random weights.

    python benchmarks/vae_decode.py                     30 and 60 s of audio, five rounds
    python benchmarks/vae_decode.py --seconds 5         shorter
    python benchmarks/vae_decode.py --tiles             time a second of audio by size of piece

Beside the times stands the floor: 0.122 TFLOP a second of audio at the rate of a measured matrix
product. Minimal filters need fewer products than that, so ours may lie below it.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict

import torch
from common import PeakMemory, alternate, ceiling, finish, in_subprocess, seconds
from torch import Tensor

from headroom.models.acestep.networks.released import VAE, released_vae
from headroom.nn import oobleck_tiles
from headroom.nn.oobleck import Decoder, FoldedKeys
from headroom.nn.oobleck_cost import decode_bytes
from headroom.nn.oobleck_tiles import decode_tiled, prepare

FIELDS: dict[str, object] = dict(VAE)
CONFIG = released_vae()
RATE = 25  # latent frames a second
TFLOP_A_SECOND = 0.122
Decode = Callable[[Tensor], Tensor]


def peer(dtype: torch.dtype) -> torch.nn.Module:
    """diffusers' decoder as it comes; gains large enough that no layer is a bystander."""
    from diffusers import AutoencoderOobleck

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = AutoencoderOobleck(**FIELDS).eval()
    del model.encoder
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight_g"):
                parameter.mul_(1.25)
            elif name.endswith(("alpha", "beta")):
                parameter.normal_(0, 0.2)
    return model.to(dtype)


def ours(state: dict[str, Tensor], dtype: torch.dtype, compiled: bool) -> Decode:
    """Our decoder from the same tensors, prepared."""
    keys = FoldedKeys("decoder.")
    with torch.device("meta"):
        decoder = Decoder(CONFIG)
    built = {
        name: keys.build(name, *(state[key] for key in keys.needs(name))).to(dtype)
        for name, _ in decoder.named_parameters()
    }
    decoder.load_state_dict(built, assign=True)
    pieces = prepare(decoder.requires_grad_(False), compiled=compiled)
    return lambda latents: decode_tiled(decoder, latents, pieces=pieces)


def latents(length: float, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, 64, round(length * RATE), generator=generator).to(dtype)


def build(kind: str, dtype: torch.dtype) -> Decode:
    """One of `diffusers`, `eager`, `compiled`."""
    model = peer(dtype)
    if kind == "diffusers":
        return lambda z: model.decode(z, return_dict=False)[0]
    return ours(model.state_dict(), dtype, kind == "compiled")


def memory(kind: str, length: float, dtype: torch.dtype) -> dict[str, object]:
    """Extra memory of one decode, in this fresh process."""
    decode, z = build(kind, dtype), latents(length, dtype)
    # Weights are paged in, code compiled, before it counts.
    decode(z[:, :, : (oobleck_tiles.piece_frames(z) or 0) + 4])
    with PeakMemory() as peak:
        decode(z)
    return {"extra_bytes": peak.extra}


def closeness(a: Tensor, b: Tensor) -> dict[str, float]:
    a, b = a.double().flatten(), b.double().flatten()
    return {
        "relative_difference": float((a - b).norm() / b.norm()),
        "cosine": float(torch.cosine_similarity(a, b, dim=0)),
    }


def compare(lengths: list[float], rounds: int, dtype: torch.dtype) -> dict[str, object]:
    kinds = {kind: build(kind, dtype) for kind in ("diffusers", "eager", "compiled")}
    short = latents(1, dtype)
    first = {kind: seconds(lambda d=decode: d(short)) for kind, decode in kinds.items()}
    reference = kinds["diffusers"](short)
    close = {k: closeness(d(short), reference) for k, d in kinds.items() if k != "diffusers"}
    rows = []
    for length in lengths:
        z = latents(length, dtype)
        limit = ceiling(dtype)
        times = alternate({k: lambda d=d, z=z: d(z) for k, d in kinds.items()}, rounds)
        base = times["diffusers"].median
        rows.append(
            {
                "seconds": length,
                "ceiling": asdict(limit),
                "floor_s": round(TFLOP_A_SECOND * 1e3 * length / limit.matrix_gflops, 3),
                "times": {k: asdict(t) for k, t in times.items()},
                "times_faster": {k: round(base / t.median, 2) for k, t in times.items()},
            }
        )
    return {"first_call_s": first, "against_diffusers": close, "lengths": rows}


def memories(lengths: list[float], dtype_name: str) -> list[dict[str, object]]:
    dtype = getattr(torch, dtype_name)
    rows: list[dict[str, object]] = []
    for length in lengths:
        row: dict[str, object] = {"seconds": length}
        for kind in ("diffusers", "eager", "compiled"):
            arguments = ["--memory-of", kind, "--seconds", str(length), "--dtype", dtype_name]
            row[kind] = in_subprocess(__file__, arguments)["extra_bytes"]
        frames = round(length * RATE)
        row["planned_eager"] = (
            decode_bytes(
                CONFIG,
                frames,
                oobleck_tiles.CORE_FRAMES,
                oobleck_tiles.piece_frames(torch.empty(0, dtype=dtype)),
                itemsize=dtype.itemsize,
                minimal_from=oobleck_tiles.MINIMAL_EAGER if dtype == torch.float32 else None,
            )
            + 4 * 2 * frames * CONFIG.hop
        )
        rows.append(row)
    return rows


def tiles(dtype: torch.dtype, rounds: int) -> dict[str, object]:
    """Seconds a second of audio by size of the outer tile and of the piece, eager."""
    model = peer(dtype)
    keys = FoldedKeys("decoder.")
    with torch.device("meta"):
        decoder = Decoder(CONFIG)
    state = model.state_dict()
    built = {
        n: keys.build(n, *(state[k] for k in keys.needs(n))).to(dtype) for n in decoder.state_dict()
    }
    decoder.load_state_dict(built, assign=True)
    prepare(decoder.requires_grad_(False), compiled=False)
    length = 1536 / RATE
    z = latents(length, dtype)
    deep = {
        str(core): (lambda core=core: [decoder.deep(z[..., : core + 18])])
        for core in (16, 32, 64, 128, 256, 512, 1024, 1536)
    }
    rows = decoder.deep(z[..., :136])
    wide = {
        str(frames): (lambda frames=frames: decoder.wide(rows[..., : frames * 60 + 30]))
        for frames in (1, 2, 4, 8, 16, 32, 64, 128)
    }
    result: dict[str, object] = {}
    for name, cases in (("deep_by_core_frames", deep), ("wide_by_wide_frames", wide)):
        times = alternate(cases, rounds)
        result[name] = {k: round(t.median * RATE / int(k), 4) for k, t in times.items()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, nargs="+", default=[30.0, 60.0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--tiles", action="store_true", help="time by size of piece instead")
    parser.add_argument("--memory-of", choices=("diffusers", "eager", "compiled"))
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--save", action="store_true", help="keep the line in benchmarks/results")
    parser.add_argument("--date", help="of the result file; today when left out")
    args = parser.parse_args()
    dtype = getattr(torch, args.dtype)
    with torch.inference_mode():
        if args.memory_of:
            print(json.dumps(memory(args.memory_of, args.seconds[0], dtype)))
            return
        name = "vae_decode" if args.dtype == "float32" else f"vae_decode_{args.dtype}"
        if args.tiles:
            finish(f"{name}_tiles", tiles(dtype, args.rounds), args.save, args.date)
            return
        result = compare(args.seconds, args.rounds, dtype)
        if not args.no_memory:
            result["memory"] = memories(args.seconds, args.dtype)
        finish(name, {"dtype": args.dtype, **result}, args.save, args.date)


if __name__ == "__main__":
    main()
