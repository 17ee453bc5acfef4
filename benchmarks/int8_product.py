"""Products with int8 weights on a host, beside the same in the type it is fast at.

One row is what a language model asks for at each step: the time is that of reading the matrix, so
half the bytes should take half of it. Hundreds of rows are a denoising step: there the product is
the ceiling, and writing the matrix out costs on top.

    python benchmarks/int8_product.py [--rows 1 375] [--dtype bfloat16] [--save]
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

import common
import torch

from headroom.memory.precision import CONVERTED
from headroom.nn.linear import Linear
from headroom.runtime.quantize import convert

# (out, in): the MLP of the 0.6B language model, and of the 2B DiT.
SHAPES = ((3072, 1024), (6144, 2048), (2048, 6144))
COPIES = 24  # matrices gone through in turn, so that none stays in the cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 375])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--save", action="store_true", help="keep it in benchmarks/results")
    args = parser.parse_args()
    dtype = getattr(torch, args.dtype)
    ceiling = common.ceiling(dtype)
    figures = []
    with torch.inference_mode():
        for outputs, inputs in SHAPES:
            kinds: dict[str, list[Linear]] = {}
            for name in (args.dtype, *CONVERTED):
                kinds[name] = [Linear(inputs, outputs).to(dtype) for _ in range(COPIES)]
                for linear in kinds[name] if name != args.dtype else ():
                    convert(linear, name)
            for rows in args.rows:
                x = torch.randn(rows, inputs).to(dtype)
                cases = {
                    name: lambda linears=linears, x=x: [linear(x) for linear in linears]
                    for name, linears in kinds.items()
                }
                for work in cases.values():
                    work()
                took = common.alternate(cases, args.repeats, tell=lambda text: None)
                own = took[args.dtype].median
                figure = {
                    "out": outputs,
                    "in": inputs,
                    "rows": rows,
                    "ms": {n: round(t.median / COPIES * 1e3, 4) for n, t in took.items()},
                    "times_faster": {n: round(own / t.median, 2) for n, t in took.items()},
                    "read_gb_s": {
                        n: round(kinds[n][0].weight.nbytes * COPIES / t.median / 1e9, 2)
                        for n, t in took.items()
                    },
                }
                figures.append(figure)
                print(f"[{outputs}, {inputs}] x {rows} rows: {figure['times_faster']}")
    result = {"dtype": args.dtype, "ceiling": asdict(ceiling), "figures": figures}
    common.finish(f"int8_product_{args.dtype}", result, args.save)


if __name__ == "__main__":
    main()
