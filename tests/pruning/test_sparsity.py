"""The table of sparsity tells what was masked, of a masked and of a shrunk checkpoint alike."""

import pytest
from models import build, mask

from fairseq_lite.converters.published import checkpoint_of
from fairseq_lite.errors import UserError
from fairseq_lite.pruning.neurons import prunable_layers
from fairseq_lite.pruning.shrinking import shrink
from fairseq_lite.pruning.sparsity import Sparsity, sparsity_of


@pytest.fixture
def masked():
    """A checkpoint of a classifier with part of its neurons zero, and how many of each component's are, of how many."""
    model = mask(build("roberta"), 0.5)
    model.args.__dict__.update(arch="roberta", task="masked_lm", criterion="masked_lm")
    zeros, whole = {}, {}
    for layer in prunable_layers(model):
        units = (layer.linear.weight == 0).all(dim=1)
        zeros[layer.component] = zeros.get(layer.component, 0) + int(units.sum())
        whole[layer.component] = whole.get(layer.component, 0) + len(units)
    return checkpoint_of(model.args, model.state_dict(), "roberta"), zeros, whole


def test_a_row_of_zeros_with_a_bias_is_no_pruned_neuron(masked):
    """As pruning single weights leaves it: `sparsity` and `shrink` say the same."""
    checkpoint, _, _ = masked
    for tensor in checkpoint["model"].values():
        if tensor.dim() == 1:
            tensor.fill_(0.5)
    assert sparsity_of(checkpoint, "masked.pt").unit == "weights"
    with pytest.raises(UserError, match="no neuron to remove is zero"):
        shrink(checkpoint, "masked.pt")


def by_component(cells):
    sums = {}
    for (_, component), count in cells.items():
        sums[component] = sums.get(component, 0) + count
    return sums


def test_all_components_are_counted_classification_heads_too(masked):
    checkpoint, zeros, whole = masked
    assert zeros["p"] > 0
    for found in (sparsity_of(checkpoint, "masked.pt"), sparsity_of(shrink(checkpoint, "masked.pt"), "shrunk.pt")):
        assert (found.unit, by_component(found.pruned), by_component(found.whole)) == ("neurons", zeros, whole)
        assert found.part() == sum(zeros.values()) / sum(whole.values())
        assert set(found.layers) == {"encoder 0", "encoder 1", "head"}


def test_attention_to_the_source_is_explained_where_there_is_some(masked):
    assert sparsity_of(masked[0], "masked.pt").note == ""
    assert "source" in Sparsity("neurons", {("decoder 0", "xq"): 1}, {("decoder 0", "xq"): 4}).note
