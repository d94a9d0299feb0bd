import pytest

from fairseq_lite.measure import timing
from fairseq_lite.measure.timing import milliseconds_in_turns


@pytest.fixture
def task(monkeypatch):
    """Makes functions that take so many seconds of a made-up clock each time, and note their calls."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def task(name, durations, calls):
        remaining = iter(durations)

        def function():
            calls.append(name)
            now[0] += next(remaining)

        return function

    return task


def test_functions_take_turns(task):
    calls = []
    times = milliseconds_in_turns([task("a", [1, 2, 3], calls), task("b", [5, 4, 6], calls)], range(3))
    assert calls == list("ababab")
    assert times == [[1000, 2000, 3000], [5000, 4000, 6000]]


def test_a_hopeless_function_is_timed_three_times(task):
    calls = []
    times = milliseconds_in_turns([task("a", [1] * 9, calls), task("b", [5, 2, 3], calls)], range(9), hopeless=1.5)
    assert [len(samples) for samples in times] == [9, 3]


def test_environment_names_threads_and_versions():
    assert all(part in timing.environment() for part in ("threads", "torch", "fairseq"))
