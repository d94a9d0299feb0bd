from argparse import Namespace

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, build_model

from fairseq_lite.averaging import average
from fairseq_lite.building import task_of_sizes
from fairseq_lite.checkpoints import derived_checkpoint, load_model, require_finite, write_checkpoint
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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_named(value):
    state = {"fc1.weight": torch.ones(2, 2), "fc1.bias": torch.tensor([1.0, value]), "steps": torch.tensor(3)}
    with pytest.raises(UserError, match=r"m\.pt: holds weights that are infinite or not a number \(fc1\.bias\)"):
        require_finite(state, "m.pt")
    with pytest.raises(UserError, match=r"\(w0, w1, w2 and 7 more\)"):
        require_finite({f"w{i}": torch.tensor(value) for i in range(10)}, "m.pt")


def test_placeholders_that_nothing_fills_are_not_weights():
    nan = torch.tensor([float("nan")])
    state = {"adaptive_softmax.head._float_tensor": nan, "layers.0.conv.conv_bias": nan.expand(1, 1, 4)}
    require_finite(state, "m.pt")


def test_other_weights_take_no_optimizer_and_no_moving_average_along():
    checkpoint = {"model": {}, "last_optimizer_state": {}, "extra_state": {"ema": {}, "val_loss": 1.0}, "cfg": {}}
    derived = derived_checkpoint({**checkpoint, "criterion": {"projection": 1}}, {"w": 1})
    assert derived == {"model": {"w": 1}, "criterion": None, "extra_state": {"val_loss": 1.0}, "cfg": {}}
    assert "ema" in checkpoint["extra_state"]
