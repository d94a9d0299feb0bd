"""When how much is pruned."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """`steps` equal steps after update `start`, the last one in update `end`; what follows is recovery.

    Updates count from 1. With `end` equal to `start` all happens in one step.
    """

    start: int
    end: int
    steps: int

    def steps_due(self, update: int) -> int:
        """How many steps are to be done before the forward pass of an update."""
        if update >= self.end:
            return self.steps
        if update <= self.start:
            return 0
        return (update - self.start) * self.steps // (self.end - self.start)

    def collects(self, update: int) -> bool:
        """Whether the gradients of an update tell what the next step prunes."""
        first_window = self.start if self.end > self.start else 0
        return first_window < update < self.end

    def fraction(self, steps: int) -> float:
        """The part of the final sparsity that is wanted after so many steps."""
        return steps / self.steps
