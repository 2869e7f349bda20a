import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent import download
from edge_agent.download import Cancelled, Download
from edge_agent.store import Store
from edge_bundle.archive import Bundle
from edge_wire.assignment import Encoding
from edge_wire.broker import Broker
from edge_wire.chunks import count_chunks
from edge_wire.errors import MessageRefused
from edge_wire.link import Handlers, Link, Message
from edge_wire.messages import Plan, encode
from tests.brokers import RunningBroker
from tests.edge_bundle.bundles import write_watch_bundle
from tests.simulators.operator import CHUNK_BYTES, PATIENCE_S, Operator


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_wire.link.BACKOFF_S", (0.02, 0.3))
    monkeypatch.setattr(download, "PATIENCE_S", (0.2, 0.8))
    monkeypatch.setattr(download, "SPREAD_S", 0.01)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", 1 << 20)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_watch_bundle(tmp_path_factory.mktemp("made"))


def fetch(
    operator: Operator,
    store: Store,
    bundle: Bundle,
    encoding: Encoding | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Bundle:
    encoding = encoding or operator.offer(bundle.path.read_bytes())
    variant = operator.ref(bundle).variants[0]
    broker = Broker(operator.url)
    deadline = time.monotonic() + PATIENCE_S

    def stop() -> bool:
        assert time.monotonic() < deadline, operator.seen().wants
        return cancelled()

    return Download(store, broker, operator.topics, "d1", variant).run(encoding, stop)


def chunks_of(encoding: Encoding) -> int:
    return count_chunks(encoding.length, encoding.chunk_bytes) + 1


def test_a_bundle_comes_over_the_wire_each_chunk_once(
    broker: RunningBroker, store: Store, bundle: Bundle
) -> None:
    with Operator(broker.url) as operator:
        encoding = operator.offer(bundle.path.read_bytes())
        assert chunks_of(encoding) > 8
        got = fetch(operator, store, bundle)
    assert got.path.read_bytes() == bundle.path.read_bytes()
    assert store.held() == [bundle.sha256]
    assert sorted(operator.sent) == list(range(chunks_of(encoding)))
    assert list((store.path / "partial").iterdir()) == [], "what was fetched is of no more use"


def test_chunks_that_are_lost_corrupted_doubled_and_disordered_still_make_the_bundle(
    operator: Operator, store: Store, bundle: Bundle
) -> None:
    encoding = operator.offer(bundle.path.read_bytes())
    chance = random.Random(7)
    numbers = range(chunks_of(encoding))
    operator.faults.lose = set(chance.sample(numbers, 4))
    operator.faults.corrupt = set(chance.sample(numbers, 4)) | {0}
    operator.faults.duplicate = True
    operator.faults.shuffle = chance
    assert fetch(operator, store, bundle).path.read_bytes() == bundle.path.read_bytes()


def test_a_lost_index_is_asked_for_again(operator: Operator, store: Store, bundle: Bundle) -> None:
    operator.faults.lose = {0}
    fetch(operator, store, bundle)
    assert [0 in want for want in operator.seen().wants] == [True, True]


def test_a_device_asks_for_no_more_than_a_window_at_once(
    operator: Operator, store: Store, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "WINDOW", 3)
    fetch(operator, store, bundle)
    assert max(len(want) for want in operator.seen().wants) == 3
    assert len(operator.sent) == len(set(operator.sent))


def test_a_latecomer_takes_what_is_sent_to_others_and_asks_for_the_rest(
    operator: Operator, bundle: Bundle, tmp_path: Path
) -> None:
    encoding = operator.offer(bundle.path.read_bytes())
    late = chunks_of(encoding) // 2
    begun = threading.Event()

    def withhold(number: int) -> bool:
        if number >= late:
            begun.set()
        return number >= late and not done.is_set()

    done = threading.Event()
    operator.faults.withhold = withhold
    stores = [Store(tmp_path / f"store{n}", 1 << 20) for n in range(2)]
    got: list[Bundle] = []
    threads = [
        threading.Thread(target=lambda s=s: got.append(fetch(operator, s, bundle, encoding)))
        for s in stores
    ]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    done.set()
    for thread in threads:
        thread.join(20)
    assert [b.sha256 for b in got] == [bundle.sha256] * 2


def test_a_sender_that_comes_late_is_waited_for(
    operator: Operator, store: Store, bundle: Bundle
) -> None:
    from_then = time.monotonic() + 0.7
    operator.faults.withhold = lambda _number: time.monotonic() < from_then
    fetch(operator, store, bundle)
    assert len(operator.seen().wants) > 1


def test_a_plan_that_has_what_is_missing_is_waited_for(
    operator: Operator, store: Store, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PATIENCE_S", (0.4, 0.4))
    encoding = operator.offer(bundle.path.read_bytes())
    plan = encode(Plan(1, encoding.blob_sha256, [(0, 500)]))
    planned = Message(operator.topics.plan(encoding.blob_sha256), plan)
    link = Link(Broker(operator.url), "planner", Handlers())
    link.start()
    link.wait(5)
    ends = time.monotonic() + 1.4
    operator.faults.withhold = lambda _number: time.monotonic() < ends
    stop = threading.Event()

    def announce() -> None:
        while not stop.wait(0.1) and time.monotonic() < ends:
            link.publish(planned)

    thread = threading.Thread(target=announce)
    thread.start()
    try:
        fetch(operator, store, bundle)
    finally:
        stop.set()
        thread.join()
        link.stop()
    assert len(operator.seen().wants) <= 2, "nobody asks for what is announced"


def test_what_was_fetched_is_not_fetched_again_after_a_cancelled_fetch(
    operator: Operator, store: Store, bundle: Bundle
) -> None:
    encoding = operator.offer(bundle.path.read_bytes())
    half = chunks_of(encoding) // 2
    operator.faults.withhold = lambda number: number >= half
    partial = store.partial_file(encoding.blob_sha256)

    def there() -> bool:
        """Look at the file itself: it must not be in this process's memory alone."""
        blob = operator.blob(encoding)[: (half - 1) * CHUNK_BYTES]
        return partial.exists() and partial.read_bytes()[: len(blob)] == blob

    with pytest.raises(Cancelled):
        fetch(operator, store, bundle, encoding, there)
    assert store.held() == []
    before = len(operator.seen().wants)
    operator.faults.withhold = lambda _number: False
    fetch(operator, store, bundle, encoding)
    wanted = set[int]().union(*operator.seen().wants[before:])
    assert wanted == set(range(half, chunks_of(encoding)))


def test_a_damaged_part_of_what_was_fetched_is_fetched_again(
    operator: Operator, store: Store, bundle: Bundle
) -> None:
    encoding = operator.offer(bundle.path.read_bytes())
    blob = operator.blob(encoding)
    partial = store.partial_file(encoding.blob_sha256)
    damaged = bytearray(blob)
    damaged[3 * CHUNK_BYTES] ^= 1
    partial.write_bytes(damaged)
    partial.with_suffix(".index").write_bytes(operator._chunk(encoding.blob_sha256, 0))
    fetch(operator, store, bundle, encoding)
    assert operator.seen().wants == [{4}]


def test_without_its_index_nothing_that_was_fetched_is_believed(
    operator: Operator, store: Store, bundle: Bundle
) -> None:
    encoding = operator.offer(bundle.path.read_bytes())
    partial = store.partial_file(encoding.blob_sha256)
    partial.write_bytes(operator.blob(encoding))
    partial.with_suffix(".index").write_bytes(b"damaged")
    fetch(operator, store, bundle, encoding)
    assert set[int]().union(*operator.seen().wants) == set(range(chunks_of(encoding)))


def test_a_whole_blob_that_is_not_the_bundle_is_refused_and_forgotten(
    operator: Operator, store: Store, bundle: Bundle
) -> None:
    encoding = operator.offer(b"x" * bundle.length)
    with pytest.raises(MessageRefused, match="expected"):
        fetch(operator, store, bundle, encoding)
    assert store.held() == []
    assert list((store.path / "partial").iterdir()) == []


def test_more_bytes_than_signed_are_not_written(
    operator: Operator, store: Store, bundle: Bundle
) -> None:
    encoding = operator.offer(bundle.path.read_bytes() + bytes(10 << 20))
    with pytest.raises(MessageRefused, match="more than the signed"):
        fetch(operator, store, bundle, encoding)
    assert list((store.path / "bundles").iterdir()) == []


def test_an_absurd_number_of_chunks_is_refused_before_anything_is_asked(
    operator: Operator, store: Store, bundle: Bundle
) -> None:
    encoding = Encoding("0" * 64, "zstd", 1 << 40, 1024, "0" * 64)
    with pytest.raises(MessageRefused, match="chunks, expected"):
        fetch(operator, store, bundle, encoding)
    assert operator.seen().wants == []


def test_a_full_disk_keeps_what_was_fetched(
    operator: Operator, store: Store, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoding = operator.offer(bundle.path.read_bytes())

    def full(_source: str, _target: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store, "adopt", full)
        with pytest.raises(OSError, match="No space"):
            fetch(operator, store, bundle, encoding)
    before = len(operator.sent)
    fetch(operator, store, bundle, encoding)
    assert len(operator.sent) == before, "nothing is fetched twice"


def test_a_broker_that_goes_and_comes_back_in_a_fetch_ends_it_well(
    one_broker: RunningBroker, operator: Operator, store: Store, bundle: Bundle
) -> None:
    encoding = operator.offer(bundle.path.read_bytes())
    held_back = threading.Event()

    def withhold(number: int) -> bool:
        if number > 3 and not gone.is_set():
            held_back.set()
            return True
        return False

    gone = threading.Event()
    operator.faults.withhold = withhold

    def cut() -> None:
        held_back.wait(10)
        one_broker.restart()
        gone.set()

    thread = threading.Thread(target=cut)
    thread.start()
    assert fetch(operator, store, bundle, encoding).sha256 == bundle.sha256
    thread.join()


def test_a_fetch_leaves_no_connection_behind(
    operator: Operator, store: Store, bundle: Bundle
) -> None:
    before = {t.name for t in threading.enumerate()}
    fetch(operator, store, bundle)
    assert {t.name for t in threading.enumerate()} == before
