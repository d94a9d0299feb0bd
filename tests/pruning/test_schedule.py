import pytest

from fairseq_lite.pruning.schedule import Schedule


def test_equal_steps_between_start_and_end():
    schedule = Schedule(start=10, end=20, steps=5)
    assert [schedule.steps_due(update) for update in (1, 10, 11, 12, 13, 14, 19, 20, 99)] == [0, 0, 0, 1, 1, 2, 4, 5, 5]
    assert [schedule.fraction(steps) for steps in range(6)] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]


@pytest.mark.parametrize("update", [0, 7])
def test_one_shot(update):
    schedule = Schedule(start=update, end=update, steps=3)
    assert [schedule.steps_due(n) for n in range(1, update)] == [0] * max(0, update - 1)
    assert schedule.steps_due(max(1, update)) == 3


def test_more_steps_than_updates_reach_the_end_all_the_same():
    schedule = Schedule(start=0, end=3, steps=10)
    assert [schedule.steps_due(update) for update in (1, 2, 3)] == [3, 6, 10]


@pytest.mark.parametrize(
    "start, end, collecting", [(10, 20, range(11, 20)), (0, 4, range(1, 4)), (5, 5, range(1, 5)), (0, 0, [])]
)
def test_gradients_are_collected_from_start_to_end(start, end, collecting):
    schedule = Schedule(start, end, steps=2)
    assert [update for update in range(1, 30) if schedule.collects(update)] == list(collecting)
