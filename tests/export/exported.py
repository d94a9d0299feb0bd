"""Tiny models of every family, and their step graphs run by a loop in numpy."""

import numpy as np
import onnx
import onnxruntime
import torch

from fairseq_lite.building import build_architecture
from fairseq_lite.export.model import writers_of
from fairseq_lite.export.rows import ROW, SENTENCE
from fairseq_lite.export.steps import encoder_graph, states_of, step_graph

PAD, EOS = 1, 2
VOCABULARY = 50
SIDES = ("encoder", "decoder")


def on_both(options):
    """Options of one side for both, as "embed-dim 32 layers 2"."""
    words = options.split()
    return " ".join(f"--{side}-{name} {value}" for side in SIDES for name, value in zip(words[::2], words[1::2]))


TINY = on_both("embed-dim 16 ffn-embed-dim 24 layers 2 attention-heads 2")
LITE = "lite_transformer_tiny " + on_both("embed-dim 32 conv-heads 2")
DYNAMIC = " ".join(f"--{side}-conv-type dynamic --{side}-conv-glu" for side in SIDES)
T2R = f"t2r_transformer_tiny {TINY}"
PRE_NORM = "--encoder-normalize-before --decoder-normalize-before"
LM = "--decoder-embed-dim 16 --decoder-layers 2 --decoder-attention-heads 2"
TRANSLATORS = {
    "transformer": f"transformer {TINY}",
    "pre-norm, learned positions": f"transformer {TINY} {PRE_NORM} --encoder-learned-pos --decoder-learned-pos",
    "all embeddings shared": f"transformer {TINY} --share-all-embeddings --layernorm-embedding --activation-fn gelu",
    "no positions": f"transformer {TINY} --no-token-positional-embeddings --no-scale-embedding"
    " --share-decoder-input-output-embed --activation-fn gelu_accurate",
    "wider decoder": f"transformer {TINY} --decoder-embed-dim 32 --adaptive-softmax-cutoff 20,40",
    "bart": f"bart_base {TINY} --max-source-positions 64 --max-target-positions 64",
    "quantisation noise": f"transformer {TINY} --quant-noise-pq 0.1 --encoder-layerdrop 0.1 --decoder-layerdrop 0.1",
    "lightweight": LITE,
    "dynamic with GLU": f"{LITE} {DYNAMIC} {PRE_NORM} --share-all-embeddings",
    "recurrent branch": f"{LITE} --decoder-feature-map t2r --encoder-attention-dim 12 --no-weight-softmax",
    "t2r": T2R,
    "elu": f"{T2R} --feature-map elu --linear-attention causal,cross,encoder",
    "rfa": f"{T2R} --feature-map rfa --linear-attention causal,cross,encoder",
    "exp": f"{T2R} --feature-map exp --linear-attention causal,cross,encoder",
    "hedgehog": f"{T2R} --feature-map hedgehog --linear-attention causal,cross",
    "window": f"{T2R} --feature-map exp --causal-window 2",
    "window, some softmax": f"{T2R} --feature-map exp --causal-window 3 --softmax-sublayers cross,causal.0 {PRE_NORM}",
    "recurrent branch with a window": f"{LITE} --decoder-feature-map exp --causal-window 1",
    "evolved": f"evolved_transformer_tiny {TINY}",
    "some softmax": f"{T2R} --feature-map exp --softmax-sublayers cross.0,causal.1",
    "recurrent branch exp": f"{LITE} --decoder-feature-map exp --linear-attention causal,cross",
    "gated": f"{T2R} --causal-gate --linear-attention causal",
    "one softmax layer": f"{T2R} --softmax-layers 0 {PRE_NORM}",
}
ADAPTIVE = (
    "--adaptive-input --adaptive-input-cutoff 20,40 --adaptive-softmax-cutoff 20,40"
    " --adaptive-input-factor 2 --adaptive-softmax-factor 2"
)
LANGUAGE_MODELS = {
    "transformer_lm": f"transformer_lm {LM} --decoder-ffn-embed-dim 24 --decoder-input-dim 12 --decoder-output-dim 20",
    "scaled": f"transformer_lm {LM} --scale-fc --scale-attn --scale-heads --scale-resids --activation-fn tanh",
    "lite_transformer_lm": f"lite_transformer_lm_tiny {LM} --decoder-conv-heads 2",
    "t2r_transformer_lm": f"t2r_transformer_lm_tiny {LM}",
    "window": f"t2r_transformer_lm_tiny {LM} --feature-map exp --causal-window 2 {ADAPTIVE}",
    "adaptive exp": f"lite_transformer_lm_tiny {LM} --decoder-conv-heads 2 --decoder-feature-map exp {ADAPTIVE}",
    "adaptive": f"transformer_lm {LM} {ADAPTIVE}",
    "adaptive and tied": f"lite_transformer_lm_tiny {LM} {ADAPTIVE} --tie-adaptive-weights --tie-adaptive-proj",
    "adaptive words tied": f"transformer_lm {LM} {ADAPTIVE} --tie-adaptive-weights --decoder-input-dim 16"
    " --decoder-output-dim 16",
}


def build(options):
    """A model with biases and scales as after some training."""
    name, *options = options.split()
    model = build_architecture(name, options, vocab_size=VOCABULARY)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def session_of(model):
    """A model's file, checked, in onnxruntime."""
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Stepper:
    """The step graphs of a model in a loop of numpy."""

    def __init__(self, model, **options):
        writers = writers_of(model, **options)
        self.states = states_of(writers.decoder)
        self.encoder = None if writers.encoder is None else session_of(encoder_graph(*writers).model({}))
        self.decoder = session_of(step_graph(writers.decoder).model({}))

    def log_probs(self, source, target):
        """source: [B, S] or None, target: [N, T]; returns [N, T, V]."""
        values = {
            name: np.zeros([len(target), *(axis or 0 for axis in state.shape[1:])], state.dtype)
            for name, state in self.states
            if state.per == ROW
        }
        if self.encoder is not None:
            names = [name for name, state in self.states if state.per == SENTENCE]
            values.update(zip(names, self.encoder.run(names, {"source": source.numpy()})))
        steps = []
        for position in range(target.shape[1]):
            feeds = {"token": target[:, position].numpy(), "position": np.array(position)}
            outputs = self.decoder.run(None, {**feeds, **values})
            steps.append(outputs[0])
            values.update(zip([name for name, state in self.states if state.per == ROW], outputs[1:]))
        return np.stack(steps, axis=1)
