"""Toy models of every kind that can be pruned."""

import argparse

import pytest
import torch
from fairseq.models.roberta.model import RobertaModel, base_architecture

from fairseq_lite.building import build_architecture, task_of_sizes
from fairseq_lite.models.pruned import narrow
from fairseq_lite.pruning.cuts import find_cuts
from fairseq_lite.pruning.neurons import GRANULARITIES, prunable_layers
from fairseq_lite.pruning.shrinking import cut_state

PAD = 1
VOCABULARY = 50
DYNAMIC = " ".join(f"--{side}-conv-type dynamic --{side}-conv-glu" for side in ("encoder", "decoder"))
MODELS = {
    "transformer": "transformer_tiny",
    "pre-norm": "transformer_tiny --encoder-normalize-before --decoder-normalize-before --activation-fn gelu",
    "transformer_lm": "transformer_lm --decoder-embed-dim 32 --decoder-layers 2 --decoder-attention-heads 2"
    " --decoder-ffn-embed-dim 48",
    "roberta": "roberta",
    "lite_transformer": "lite_transformer_tiny",
    "dynamic with GLU": f"lite_transformer_tiny {DYNAMIC}",
    "lite_transformer_lm": "lite_transformer_lm_tiny",
    "t2r_transformer": "t2r_transformer_tiny",
    "t2r_transformer_lm": "t2r_transformer_lm_tiny",
    "evolved_transformer": "evolved_transformer_tiny",
    "recurrent branch": "lite_transformer_tiny --decoder-feature-map t2r",
}
every_model = pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)


def classifier():
    args = argparse.Namespace(
        encoder_layers=2, encoder_embed_dim=24, encoder_ffn_embed_dim=40, encoder_attention_heads=3, max_positions=64
    )
    base_architecture(args)
    model = RobertaModel.build_model(args, task_of_sizes(VOCABULARY, VOCABULARY))
    model.register_classification_head("head", num_classes=5)
    return model


def build(options):
    """A model without dropout; embeddings and biases as after some training."""
    name, *options = options.split()
    model = classifier() if name == "roberta" else build_architecture(name, options, vocab_size=VOCABULARY)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def batch(model, length=7):
    """Positional arguments of the model for two sentences, the second one padded."""
    source, target = torch.randint(4, VOCABULARY, (2, 2, length))
    source[1, -3:] = PAD
    target[1, -2:] = PAD
    if not hasattr(model, "decoder"):
        return (source,)
    return (source, None, target) if hasattr(model, "encoder") else (target,)


def mask(model, part):
    """Part of the neurons of each layer zero, by chance."""
    for neurons in GRANULARITIES["neuron"](prunable_layers(model)):
        neurons.zero(torch.rand(neurons.count) < part)
    return model


def shrunk(options, masked):
    """The model of these options with what is left of the masked one."""
    model = build(options)
    cuts = find_cuts(masked)
    narrow(model, {name: cut.widths() for name, cut in cuts.items()})
    model.load_state_dict(cut_state(masked.state_dict(), cuts), strict=True)
    return model


def output(model, inputs):
    """What the model tells of a batch."""
    if hasattr(model, "classification_heads"):
        return model(*inputs, features_only=True, classification_head_name="head")[0]
    return model(*inputs)[0]
