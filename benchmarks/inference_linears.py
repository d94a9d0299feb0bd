"""Times translation with packed and with int8 linear layers (--packed-inference, --int8-inference) against plain ones.

Usage: python benchmarks/inference_linears.py [--repetitions N] [--threads N] [--output FILE.md]

Weights are random, so every sentence is decoded to the same length; the time is that of fairseq's SequenceGenerator.
"""

from __future__ import annotations

from typing import Callable, Optional

import torch
from fairseq.sequence_generator import SequenceGenerator
from timing import THREADS, environment, markdown_table, median_milliseconds, output_parser, tell

from fairseq_lite.building import build_architecture, dictionary_of_size
from fairseq_lite.inference.linears import INT8, LINEARS, PACKED

ARCHITECTURES = ("lite_transformer_iwslt_de_en", "lite_transformer_wmt_en_de_527m", "transformer_wmt_en_de")
VOCABULARY, LENGTH, BEAM = 10000, 30, 4
BATCH_SIZES = (1, 16)


def translation(architecture: str, option: Optional[str], batch: int) -> Callable[[], object]:
    """Translate `batch` sentences of LENGTH tokens into as many."""
    torch.manual_seed(1)
    model = build_architecture(architecture, ["--share-all-embeddings"], VOCABULARY)
    model.make_generation_fast_(beamable_mm_beam_size=BEAM, need_attn=False)
    if option:
        LINEARS[option].swap(model)
    dictionary = dictionary_of_size(VOCABULARY)
    generator = SequenceGenerator([model], dictionary, beam_size=BEAM, max_len_a=0, max_len_b=LENGTH, min_len=LENGTH)
    source = torch.randint(dictionary.nspecial, VOCABULARY, (batch, LENGTH))
    sample = {"net_input": {"src_tokens": source, "src_lengths": torch.full((batch,), LENGTH)}}
    return lambda: generator.generate([model], sample)


@torch.no_grad()
def table(repetitions: int) -> str:
    rows = []
    for architecture in ARCHITECTURES:
        for batch in BATCH_SIZES:
            runs = [translation(architecture, option, batch) for option in (None, PACKED, INT8)]
            times = median_milliseconds(runs, repetitions)
            ratios = [f"{times[0] / time:.2f}" for time in times[1:]]
            rows.append([f"`{architecture}`", batch, *(f"{time:.0f}" for time in times), *ratios])
    header = ["model", "sentences", "plain ms", "packed ms", "int8 ms", "plain / packed", "plain / int8"]
    return markdown_table(header, rows)


def main() -> None:
    parser = output_parser(__doc__)
    parser.add_argument("--repetitions", type=int, default=9, metavar="N", help="medians of N (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=THREADS, metavar="N", help="default: %(default)s")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sizes = f"{LENGTH} source and target tokens, beam {BEAM}, vocabulary {VOCABULARY}, medians of {args.repetitions}"
    engine = torch.backends.quantized.engine
    text = f"{sizes}; {environment()}, engine {engine}.\n\n{table(args.repetitions)}"
    tell(text, args.output)


if __name__ == "__main__":
    main()
