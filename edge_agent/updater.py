"""Moves this device to what its group's assignment says, and back where that goes wrong.

One thread takes events in order. Where a version stands is written down before it is acted on, so
that ``resume`` finds a row of ``lifecycle.RESUME`` for whatever was interrupted.
"""

import logging
from collections import deque
from collections.abc import Mapping
from typing import Final

from edge_agent.acceptance import check_desired
from edge_agent.agenda import Agenda
from edge_agent.download import Cancelled, Download
from edge_agent.fit import Refused, Site, StreamShape, choose_variant
from edge_agent.life import Life
from edge_agent.lifecycle import RESUME, Event, Resume, State
from edge_agent.loading import Loader
from edge_agent.place import Place
from edge_agent.records import Floor
from edge_agent.reporter import Reporter
from edge_agent.slot import Slot
from edge_agent.store import Store
from edge_agent.succession import Loaded
from edge_bundle.archive import Bundle
from edge_bundle.errors import ArtifactRefused
from edge_wire.assignment import Assignment, Encoding, Ref, Variant, choose_ref
from edge_wire.broker import Broker
from edge_wire.errors import MessageRefused
from edge_wire.messages import Accepted, Reason
from edge_wire.topics import Topics

MAX_TRIAL_BOOTS: Final = 3
"""A version that is on trial at more starts than this without coming through is left."""
HEALTHY_WINDOWS: Final = 3
"""So many windows without an error end a trial well."""

log = logging.getLogger(__name__)


class Updater:
    """The one place that decides what runs."""

    def __init__(
        self, site: Site, store: Store, broker: Broker, topics: Topics, reporter: Reporter
    ) -> None:
        self._site = site
        self._store = store
        self._loader = Loader(site, store)
        self._broker = broker
        self._topics = topics
        self._reporter = reporter
        self._places: dict[str, Place] = {}
        self._agenda = Agenda("updater")
        self._desired: deque[bytes] = deque(maxlen=1)
        self._followed = self._spurned = b""
        """The desired message that is acted on, and the last one that may not interrupt that."""

    # --- what others call

    def add(
        self, slot: Slot, shape: StreamShape, thresholds: Mapping[str, float] | None = None
    ) -> None:
        """Take charge of a model; before ``start``."""
        life = Life(self._store, slot.model)
        self._places[slot.model] = Place(slot, shape, life, thresholds or {})

    def start(self) -> None:
        """Begin to take events."""
        self._agenda.start()

    def stop(self) -> None:
        """End the thread; a fetch is broken off and goes on at the next start."""
        self._agenda.stop()

    def desire(self, message: bytes) -> None:
        """Take a desired message; one that nobody looked at yet is replaced by it."""
        self._desired.append(message)
        self._agenda.put(self._follow_desired)

    def on_healthy(self, slot: Slot, loaded: Loaded) -> None:
        """Learn from the worker that a window of a trial went well."""
        place = self._places[slot.model]
        good = place.count_good(loaded)
        # What was committed here before has had its trial: a return takes one window.
        returns = loaded.bundle.sha256 == place.life.record.previous
        if returns or good % HEALTHY_WINDOWS == 0:  # again if the disk was full
            self._agenda.put_verdict(lambda: self._commit(place, loaded.bundle))

    def on_unhealthy(self, slot: Slot, loaded: Loaded, why: str) -> None:
        """Learn from the worker that a model failed, and that it is left if it was on trial."""
        place = self._places[slot.model]
        self._agenda.put_verdict(lambda: self._leave(place, loaded.bundle, why))

    def resume(self, configured: dict[str, str]) -> None:
        """Set running what ran before the restart; before ``start``.

        Args:
            configured: for a model the sha256, in the store, of the bundle that the configuration
                names: what runs where nothing else does.
        """
        for name, place in self._places.items():
            life = place.life
            if RESUME[life.state] is not Resume.TRY_AGAIN or not self._resume_trial(place):
                record = life.record
                choices = (record.running, record.previous, configured.get(name))
                if not any(self._run_again(place, c) for c in dict.fromkeys(choices) if c):
                    life.lose()
            self._report(place)

    # --- one version's way

    def _follow_desired(self) -> None:
        try:
            message = self._desired.pop()
        except IndexError:
            return  # an earlier event of the queue took this newer one
        try:
            assignment = self._accept(message)
        except Refused as refused:
            self._reporter.set_refused(refused.reason, str(refused))
            return
        self._followed = message
        self._store.forget_partials(
            {e.blob_sha256 for ways in assignment.encodings.values() for e in ways}
        )
        for name, model in assignment.models.items():
            if self._is_outdated():
                return
            ref = choose_ref(model, self._site.device, self._site.labels)
            if name in self._places and ref is not None:
                self._pursue(self._places[name], ref, assignment)

    def _accept(self, message: bytes) -> Assignment:
        assignment = self._check(message)
        self._store.raise_floor(Floor(assignment.group, assignment.issued))
        self._reporter.set_accepted(Accepted(assignment.group, assignment.issued))
        return assignment

    def _check(self, message: bytes) -> Assignment:
        return check_desired(message, self._store, self._site.group)

    def _pursue(self, place: Place, ref: Ref, assignment: Assignment) -> None:
        life = place.life
        try:
            variant = choose_variant(ref, self._site)
        except Refused as refused:
            self._end_trial(place)
            life.offer(ref.variants[0].sha256, ref.attempt)
            self._reject(place, refused)
            return
        if not life.is_on_trial(variant.sha256):
            self._end_trial(place)
        if life.is_settled(variant.sha256) or life.is_on_trial(variant.sha256):
            self._report(place)
            return
        failure = life.failure(variant.sha256, ref.attempt)
        if failure is not None:
            life.recall(failure)
            self._report(place)
            return
        if life.is_running(variant.sha256):
            life.settle()
            self._report(place)
            return
        life.offer(variant.sha256, ref.attempt)
        self._report(place)
        try:
            bundle = self._obtain(place, variant, assignment.encodings.get(variant.sha256, ()))
            place.check_fit(bundle)
            self._loader.prove(bundle, self._is_outdated)
            self._move(place, Event.PROVEN)
            self._activate(place, bundle)
        except Refused as refused:
            self._reject(place, refused)
        except Cancelled:
            self._move(place, Event.SUPERSEDED)
        except Exception as error:  # whatever nobody thought of, what runs runs on
            log.exception("model %s", place.slot.model)
            reason = Reason.STORE_FULL if isinstance(error, OSError) else Reason.INTERNAL
            self._reject(place, Refused(reason, f"{type(error).__name__}: {error}"))

    def _end_trial(self, place: Place) -> None:
        """Go back to what ran before an unfinished trial: something newer is wanted."""
        life = place.life
        if life.state is not State.TRIAL:
            return
        life.end_trial()
        self._go_back(place)

    def _obtain(self, place: Place, variant: Variant, encodings: tuple[Encoding, ...]) -> Bundle:
        try:
            bundle = self._store.open(variant.sha256)
        except ArtifactRefused:
            self._store.remove(variant.sha256)  # not there, or damaged
        else:
            self._move(place, Event.HELD)
            return bundle
        encoding = next((e for e in encodings if e.dictionary_sha256 is None), None)
        if encoding is None:
            raise Refused(Reason.NO_ENCODING, f"nothing says how {variant.sha256[:12]} travels")
        # The blob and the bundle that it becomes are both on disk for a moment.
        if not self._store.make_room(variant.length + encoding.length, self._kept()):
            raise Refused(Reason.STORE_FULL, f"no room for {variant.length} bytes")
        self._move(place, Event.FETCH)
        download = Download(self._store, self._broker, self._topics, self._site.device, variant)
        try:
            bundle = download.run(encoding, self._is_outdated)
        except (MessageRefused, ArtifactRefused) as error:
            raise Refused(Reason.BAD_BUNDLE, str(error)) from None
        except OSError as error:
            raise Refused(Reason.STORE_FULL, str(error)) from None
        self._move(place, Event.VERIFIED)
        return bundle

    def _is_outdated(self) -> bool:
        """Tell whether to break off; asked again and again by what takes long."""
        self._agenda.hear_verdicts()
        if self._agenda.stopping:
            return True
        try:
            message = self._desired[0]
        except IndexError:
            return False
        if message in {self._followed, self._spurned}:
            return False  # the broker gave the retained one once more
        try:
            self._check(message)
        except Refused:
            self._spurned = message  # it is answered afterwards
            return False
        return True

    def _activate(self, place: Place, bundle: Bundle) -> None:
        loaded = self._loader.load(place, bundle)
        place.life.begin_trial(bundle)
        self._report(place)
        place.slot.offer(loaded, trial=True)

    # --- how it ends

    def _commit(self, place: Place, bundle: Bundle) -> None:
        if not place.life.is_on_trial(bundle.sha256):
            return  # superseded while the event waited
        place.life.commit()
        place.life.set_runs(bundle)
        place.slot.settle()
        self._store.make_room(0, self._kept())
        self._report(place)

    def _leave(self, place: Place, bundle: Bundle, why: str) -> None:
        life, runs = place.life, place.slot.running
        if life.is_on_trial(bundle.sha256):
            log.warning("model %s: %s is left: %s", place.slot.model, bundle.path.name, why)
            life.fail(Event.UNHEALTHY, Reason.TRIAL_FAILED, why)
            # It fell back by itself, between two windows.
            life.set_runs(runs.bundle if runs else None)
        elif life.is_running(bundle.sha256):
            log.warning("model %s: %s is left: %s", place.slot.model, bundle.path.name, why)
            life.leave(Reason.TRIAL_FAILED, why)
            self._go_back(place)
            if life.record.running is None:
                life.set_runs(runs.bundle if runs else None)
        elif place.slot.running is None:
            life.set_runs(None)  # an unfinished trial's model, while its successor was fetched
        self._report(place)

    def _go_back(self, place: Place) -> None:
        """Run what the record says runs, where something else did."""
        running = place.life.record.running
        if running is not None and not self._run_again(place, running):
            place.life.lose()

    def _reject(self, place: Place, refused: Refused) -> None:
        try:
            place.life.fail(Event.REFUSED, refused.reason, str(refused))
        finally:
            self._report(place)

    # --- after a restart

    def _resume_trial(self, place: Place) -> bool:
        """Go on with the trial that a restart interrupted; tell whether something runs."""
        life, record = place.life, place.life.record
        if record.target is None or record.trial_boots >= MAX_TRIAL_BOOTS:
            why = f"not through its trial after {record.trial_boots} starts"
            life.fail(Event.UNHEALTHY, Reason.TRIAL_FAILED, why)
            return False
        # Counted before it is loaded: a model that ends the process must not do so for ever.
        life.count_trial_boot()
        try:
            loaded = self._loader.reload(place, record.target)
        except Refused as refused:
            life.fail(Event.UNHEALTHY, refused.reason, str(refused))
            return False
        before = None
        if record.running is not None:
            try:
                before = self._loader.reload(place, record.running)
            except Refused as refused:
                log.warning("model %s: nothing to fall back to: %s", place.slot.model, refused)
        life.set_runs(loaded.bundle)
        place.slot.offer(loaded, trial=True, fallback=before)
        return True

    def _run_again(self, place: Place, sha256: str) -> bool:
        try:
            loaded = self._loader.reload(place, sha256)
        except Refused as refused:
            log.warning("model %s: %s", place.slot.model, refused)
            return False
        place.slot.offer(loaded)
        place.life.run(loaded.bundle)
        return True

    def _kept(self) -> set[str]:
        return set().union(*(p.life.keep() for p in self._places.values()))

    def _move(self, place: Place, event: Event) -> None:
        place.life.move(event)
        self._report(place)

    def _report(self, place: Place) -> None:
        self._reporter.set_model(place.slot.model, place.life.report())
