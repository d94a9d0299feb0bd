from argparse import Namespace

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, build_model

from fairseq_lite.building import task_of_sizes
from fairseq_lite.checkpoints import average, load_model, write_checkpoint
from fairseq_lite.converters.published import checkpoint_of
from fairseq_lite.errors import UserError


def test_average_is_the_mean_and_keeps_the_type():
    states = [{"w": torch.tensor([1.0, 2.0]), "half": torch.tensor([1.0]).half()} for _ in range(3)]
    states[0]["w"] = torch.tensor([4.0, -1.0])
    mean = average(states, ["a", "b", "c"])
    torch.testing.assert_close(mean["w"], torch.tensor([2.0, 1.0]))
    assert mean["half"].dtype == torch.half


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.long])
def test_what_is_not_floating_point_comes_from_the_last(dtype):
    states = [{"mask": torch.tensor([0, 1]).to(dtype)}, {"mask": torch.tensor([1, 1]).to(dtype)}]
    assert torch.equal(average(states, ["a", "b"])["mask"], states[1]["mask"])


def test_tied_weights_stay_tied():
    tied = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])]
    mean = average([{"a": w, "b": w, "c": w.clone()} for w in tied], ["a", "b"])
    assert mean["a"].data_ptr() == mean["b"].data_ptr() != mean["c"].data_ptr()
    torch.testing.assert_close(mean["b"], torch.tensor([2.0, 3.0]))


def test_average_names_every_mismatch():
    states = [{"w": torch.zeros(2), "old": torch.zeros(1)}, {"w": torch.zeros(3), "new": torch.zeros(1)}]
    with pytest.raises(UserError) as error:
        average(states, ["a.pt", "b.pt"])
    for phrase in ("a.pt: new is missing", "old is left over", "w is [2] instead of [3]"):
        assert phrase in str(error.value)


def test_roberta_loads_with_its_classification_heads(tmp_path):
    options = Namespace(
        arch="roberta", task="masked_lm", criterion="masked_lm", encoder_layers=1, encoder_embed_dim=8,
        encoder_ffn_embed_dim=8, encoder_attention_heads=2, max_positions=16,
    )  # fmt: skip
    ARCH_CONFIG_REGISTRY["roberta"](options)
    model = build_model(options, task_of_sizes(9, 9))
    checkpoint = checkpoint_of(options, model.state_dict(), "roberta")
    model.register_classification_head("topic", 3)
    model.register_classification_head("mood", 2, inner_dim=5)
    path = str(tmp_path / "model.pt")
    write_checkpoint({**checkpoint, "model": model.state_dict()}, path)
    loaded = load_model(path).state_dict()
    assert loaded.keys() == model.state_dict().keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())
