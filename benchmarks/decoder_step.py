"""Times one step of incremental decoding: a decoder layer with LSRA against fairseq's own of the same width.

Usage: python benchmarks/decoder_step.py [--output FILE.md]
"""

from __future__ import annotations

from typing import Callable

import torch
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase
from timing import THREADS, environment, markdown_table, median_milliseconds, output_parser, tell

from fairseq_lite.building import build_architecture
from fairseq_lite.models.lsra_layers import LiteTransformerDecoderLayer

WIDTH, SOURCE_LENGTH, REPETITIONS = 496, 30, 50
BATCH_SIZES, POSITIONS = (1, 32), (10, 100, 500)
KERNEL_SIZE = 31


def layers(ffn: str) -> dict[str, torch.nn.Module]:
    """fairseq's layer, and ours with either convolution; `ffn` is "flat" or "wide", the width of fairseq's."""
    build = {}
    for conv_type in ("lightweight", "dynamic"):
        options = [f"--encoder-embed-dim={WIDTH}", "--encoder-layers=1", "--encoder-kernel-sizes=3"]
        options += ["--decoder-layers=1", f"--decoder-kernel-sizes={KERNEL_SIZE}", f"--decoder-conv-type={conv_type}"]
        cfg = build_architecture("lite_transformer_wmt_en_de_527m", options, 100).cfg
        build[conv_type] = LiteTransformerDecoderLayer(cfg, KERNEL_SIZE)
    cfg.decoder.ffn_embed_dim = WIDTH if ffn == "flat" else 4 * WIDTH
    return {"fairseq": TransformerDecoderLayerBase(cfg), **build}


def step(layer: torch.nn.Module, batch: int, position: int) -> Callable[[], object]:
    """Decode the next position of `batch` sentences, of which `position` are decoded already."""
    layer.eval()
    source = torch.randn(SOURCE_LENGTH, batch, WIDTH)
    column = torch.randn(1, batch, WIDTH)
    state = {}
    for _ in range(position):
        layer(column, source, incremental_state=state)
    # A step puts new tensors into its state, so every repetition starts from the same past.
    return lambda: layer(column, source, incremental_state={key: dict(past) for key, past in state.items()})


@torch.no_grad()
def table() -> str:
    rows = []
    for ffn in ("flat", "wide"):
        candidates = layers(ffn)
        for batch in BATCH_SIZES:
            for position in POSITIONS:
                steps = [step(layer, batch, position) for layer in candidates.values()]
                fairseq, light, dynamic = median_milliseconds(steps, REPETITIONS)
                times = [f"{ms:.3f}" for ms in (fairseq, light, dynamic)]
                rows.append([ffn, batch, position, *times, f"{fairseq / light:.2f}", f"{fairseq / dynamic:.2f}"])
    header = ["fairseq's FFN", "batch", "position", "fairseq ms", "lightweight ms", "dynamic ms"]
    return markdown_table([*header, "fairseq / lightweight", "fairseq / dynamic"], rows)


def main() -> None:
    args = output_parser(__doc__).parse_args()
    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    text = f"{environment()}, width {WIDTH}, K = {KERNEL_SIZE}, medians of {REPETITIONS}\n\n{table()}"
    tell(text, args.output)


if __name__ == "__main__":
    main()
