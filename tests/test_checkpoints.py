import pytest
import torch

from fairseq_lite.checkpoints import average
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
