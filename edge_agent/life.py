"""One model on this device: what runs, what it moves to, and what of that survives a restart.

Only states that a restart must know are written to disk, before they are acted on: each write
wears the card.
"""

from typing import Final

from msgspec.structs import replace

from edge_agent.lifecycle import Event, State, next_state
from edge_agent.records import Failure
from edge_agent.store import Store
from edge_bundle.archive import Bundle
from edge_wire.messages import ModelReport, Reason, Running

MAX_FAILURES: Final = 32
REMEMBERED: Final = frozenset(
    {Reason.BAD_BUNDLE, Reason.LOAD_FAILED, Reason.GOLDEN_FAILED, Reason.TRIAL_FAILED}
)
"""What is the bundle's own fault. The rest can be mended here, and is tried at every offer."""
UNDER_WAY: Final = frozenset({State.OFFERED, State.DOWNLOADING, State.VERIFIED, State.STAGED})


class Life:
    """Where this device stands with one model; used by the updater's thread alone."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self.record = self._saved = store.record(name)
        self._runs: Bundle | None = None
        self._state = self.record.state
        failure = self.failure(self.record.target or "", self.record.attempt)
        self._reason = failure.reason if failure else None
        self._detail = failure.detail if failure else ""

    @property
    def state(self) -> State:
        """Of the target where there is one, else of what runs."""
        return self._state

    def keep(self) -> set[str]:
        """Return the sha256 of the bundles that must not be removed."""
        record = self.record
        return {s for s in (record.running, record.previous, record.target) if s}

    def is_settled(self, sha256: str) -> bool:
        """Tell whether a bundle runs and nothing else is under way."""
        return self.record.running == sha256 and self._state is State.COMMITTED

    def is_on_trial(self, sha256: str) -> bool:
        """Tell whether a bundle is on trial."""
        return self.record.target == sha256 and self._state is State.TRIAL

    def is_running(self, sha256: str) -> bool:
        """Tell whether a bundle is what runs, whatever became of other offers."""
        return self.record.running == sha256

    def failure(self, sha256: str, attempt: int) -> Failure | None:
        """Return how this attempt at a bundle failed before."""
        return next(
            (f for f in self.record.failures if (f.sha256, f.attempt) == (sha256, attempt)), None
        )

    def offer(self, sha256: str, attempt: int) -> None:
        """Begin the life of a version."""
        self.record = replace(self.record, target=sha256, attempt=attempt)
        self._state, self._reason, self._detail = State.OFFERED, None, ""

    def move(self, event: Event) -> None:
        """Let something happen to the target that a restart need not know."""
        self._state = next_state(self._state, event)

    def begin_trial(self, bundle: Bundle) -> None:
        """Write down that the target is about to run."""
        self._save(next_state(self._state, Event.ACTIVATED), trial_boots=0)
        self._runs = bundle

    def count_trial_boot(self) -> None:
        """Write down that the device started once more with the target on trial."""
        self._save(self._state, trial_boots=self.record.trial_boots + 1)

    def end_trial(self) -> None:
        """Write down that the target is left for something newer, and is not to blame for it."""
        self._save(next_state(self._state, Event.SUPERSEDED), target=None)

    def commit(self) -> None:
        """Write down that the target is what runs from now on."""
        record = self.record
        changed = record.running != record.target
        self._save(
            next_state(self._state, Event.HEALTHY),
            running=record.target,
            running_attempt=record.attempt,
            previous=record.running if changed else record.previous,
            target=None,
        )

    def run(self, bundle: Bundle) -> None:
        """Say that a bundle runs without a trial: after a restart, or by the configuration."""
        self._runs = bundle
        sha256, record = bundle.sha256, self.record
        if record.running != sha256:
            previous = record.previous if record.previous != sha256 else None
            self._save(
                State.COMMITTED, running=sha256, running_attempt=0, previous=previous, target=None
            )
            self._reason, self._detail = None, ""
        elif record.target is None:
            self._state = State.COMMITTED

    def lose(self) -> None:
        """Write down that nothing runs, so that what ran is fetched and proven anew."""
        state = self._state if self.record.target else State.RETIRED
        self._save(state, running=None, running_attempt=0)

    def fail(self, event: Event, reason: Reason, detail: str) -> None:
        """Write down that the target is refused or left, so that it is not tried again."""
        record, state = self.record, next_state(self._state, event)
        failure = Failure(record.target or "", record.attempt, state, reason, detail[:500])
        # Said before it is written down: a full disk must not hide it.
        self._state, self._reason, self._detail = state, reason, failure.detail
        self._save(state, failures=self._remember(failure))

    def leave(self, reason: Reason, detail: str) -> None:
        """Write down that what runs failed: the one before it is what runs from now on."""
        record = self.record
        failure = Failure(
            record.running or "", record.running_attempt, State.ROLLED_BACK, reason, detail[:500]
        )
        busy = self._state in UNDER_WAY
        if not busy:
            self._state = next_state(State.COMMITTED, Event.UNHEALTHY)
            self._reason, self._detail = reason, failure.detail
        self._save(
            self._state,
            running=record.previous,
            running_attempt=0,
            previous=None,
            target=record.target if busy else failure.sha256,
            attempt=record.attempt if busy else failure.attempt,
            failures=self._remember(failure),
        )

    def recall(self, failure: Failure) -> None:
        """Say again how a version failed that was offered again."""
        self.record = replace(self.record, target=failure.sha256, attempt=failure.attempt)
        self._state, self._reason, self._detail = failure.state, failure.reason, failure.detail

    def settle(self) -> None:
        """Say that what runs is what is wanted, after something else was offered or failed."""
        self.record = replace(self.record, target=None, attempt=self.record.running_attempt)
        self._state, self._reason, self._detail = State.COMMITTED, None, ""

    def set_runs(self, bundle: Bundle | None) -> None:
        """Say what the slot runs, where no other call says it."""
        self._runs = bundle

    def report(self) -> ModelReport:
        """Return what the device says of this model."""
        runs = self._runs
        running = None
        if runs is not None:
            running = Running(runs.manifest.version, runs.manifest.variant, runs.sha256)
        return ModelReport(
            running=running,
            state=self._state.value if running or self.record.target else "none",
            target=self.record.target,
            attempt=self.record.attempt,
            held=tuple(self._store.held_of(self._name)),
            reason=self._reason,
            detail=self._detail,
        )

    def _remember(self, failure: Failure) -> tuple[Failure, ...]:
        failures = self.record.failures
        if failure.reason not in REMEMBERED:
            return failures
        key = failure.sha256, failure.attempt
        others = (f for f in failures if (f.sha256, f.attempt) != key)
        return (*others, failure)[-MAX_FAILURES:]

    def _save(self, state: State, **changes: object) -> None:
        """Write down a state; what could not be written has not happened."""
        record = replace(self.record, state=state, **changes)
        if record != self._saved:
            self._store.save_record(self._name, record)
        self.record = self._saved = record
        self._state = state
