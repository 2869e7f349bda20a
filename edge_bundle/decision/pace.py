"""Which predictions are published: all, those that change the label, or one in so many seconds."""

from typing import Final

from edge_bundle.decision.rules import Every, Rule

NS_PER_S: Final = 1_000_000_000


class Pace:
    """Chooses among the predictions of one model on one stream."""

    def __init__(self, rule: Rule) -> None:
        wanted = rule.predictions
        self._changes = wanted == "changes"
        self._every_ns = int(wanted.every_s * NS_PER_S) if isinstance(wanted, Every) else 0
        self.all = wanted == "all"
        """Whether every prediction is published."""
        self._label: str | None = None
        self._next_ns: int | None = None

    def wants(self, at_ns: int, label: str) -> bool:
        """Tell whether the prediction of a window is published; the first one is.

        Args:
            at_ns: monotonic time of its end, never before that of the window before.
            label: the answer.
        """
        if self._changes:
            changed = label != self._label
            self._label = label
            return changed
        if self._next_ns is not None and at_ns < self._next_ns:
            return False
        self._next_ns = at_ns + self._every_ns
        return True
