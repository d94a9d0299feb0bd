"""What loading a compressed checkpoint takes, read by the operating system in a process of its own."""

import argparse
import os
import subprocess
import sys

from fairseq_lite.building import build_architecture
from fairseq_lite.checkpoints import write_checkpoint
from fairseq_lite.compression.files import compress, save_deflated
from fairseq_lite.compression.scheme import Scheme
from fairseq_lite.converters.published import checkpoint_of

VOCABULARY = 8000

LOAD = """
import re, sys
from fairseq_lite.checkpoints import load_model
def resident(which):
    # not ru_maxrss, which a new process takes over from its parent
    return 1024 * int(re.search(which + r":\\s+(\\d+) kB", open("/proc/self/status").read())[1])
load_model(sys.argv[1])
# not the peak of the warming up, below which the second load would be hidden in part
before = resident("VmRSS")
model = load_model(sys.argv[2])
print((resident("VmHWM") - before) / sum(4 * p.numel() for p in model.parameters()))
"""


def written(path, vocabulary, scheme):
    options = argparse.Namespace(arch="transformer_iwslt_de_en", task="translation", criterion="cross_entropy")
    options.encoder_layers = options.decoder_layers = 2
    sizes = ["--encoder-layers", "2", "--decoder-layers", "2"]
    state = build_architecture(options.arch, sizes, vocabulary).state_dict()
    write_checkpoint(compress(checkpoint_of(options, state, "model"), scheme), str(path), save_deflated)
    return str(path)


def test_loading_takes_at_most_two_and_a_half_times_the_model(tmp_path):
    """fairseq itself takes twice: what it has read, and the model it copies that into."""
    scheme = Scheme(8, "linear", entropy_code=True)
    # the first, small one warms up
    paths = [written(tmp_path / f"{size}.pt", size, scheme) for size in (100, VOCABULARY)]
    # larger blocks are given back when freed; what glibc's heap keeps of them otherwise differs from run to run
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-W", "ignore", "-c", LOAD, *paths]
    process = subprocess.run(command, env=env, capture_output=True, text=True)
    assert 1 < float(process.stdout) <= 2.5, process.stderr
