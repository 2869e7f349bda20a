import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.lifecycle import State
from edge_agent.records import Failure, Floor, Proof, Record
from edge_agent.store import Store, StoreInUse
from edge_bundle.archive import Bundle
from edge_bundle.errors import BundleRefused
from edge_wire.messages import Reason
from tests.edge_bundle.bundles import write_small_bundle
from tests.simulators.disk import Disk, PowerCut

ROOM = 1 << 20
OLD = Record(state=State.COMMITTED, running="a" * 64, previous="b" * 64)
NEW = Record(state=State.TRIAL, running="a" * 64, target="c" * 64, attempt=2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", ROOM)


@pytest.fixture
def bundles(tmp_path: Path) -> list[Bundle]:
    return [write_small_bundle(tmp_path / "made", version=f"1.0.{n}") for n in range(4)]


# --- power cuts


def cut_everywhere(
    folder: Path, work: Callable[[Store], object], look: Callable[[Store], object]
) -> list[object]:
    """Cut the power at every step of some work on copies of a store; return what was found then.

    The last two are of work that came to its end, and so must not be lost.
    """
    found, cut_at, whole = [], 0, False
    while not whole:
        cut_at += 1
        for keep_unflushed in (False, True):
            copy = folder.with_name(f"cut{cut_at}{keep_unflushed}")
            shutil.copytree(folder, copy)
            store = Store(copy, ROOM)
            disk = Disk(pytest.MonkeyPatch(), cut_at)
            try:
                work(store)
                whole = True
            except PowerCut:
                assert not whole
            finally:
                disk.power_on(keep_unflushed)
            after = Store(copy, ROOM)
            after.lock()
            found.append(look(after))
            after.unlock()
            assert not list(copy.rglob("*.part")), "what a crash left is cleared away"
    return found


def test_a_power_cut_at_any_step_leaves_the_old_record_or_the_new_one(store: Store) -> None:
    store.save_record("watch", OLD)
    found = cut_everywhere(
        store.path, lambda s: s.save_record("watch", NEW), lambda s: s.record("watch")
    )
    assert len(found) > 2 * 4, "write, flush, rename, flush of the folder"
    assert all(r in {OLD, NEW} for r in found)
    assert OLD in found
    assert found[-2:] == [NEW, NEW], "what was saved is there, whatever the disk does"


def test_a_power_cut_at_any_step_leaves_a_whole_bundle_or_none(
    store: Store, bundles: list[Bundle]
) -> None:
    bundle = bundles[0]

    def adopt(store: Store) -> None:
        part = store.path / "bundles" / f".{bundle.sha256}.part"
        shutil.copyfile(bundle.path, part)
        store.adopt(part, bundle.sha256)

    found = cut_everywhere(store.path, adopt, lambda s: [s.open(x).sha256 for x in s.held()])
    assert all(held in ([], [bundle.sha256]) for held in found)
    assert found[-2:] == [[bundle.sha256]] * 2


def test_a_power_cut_while_a_bundle_is_taken_in_leaves_it_whole_or_out(
    store: Store, bundles: list[Bundle]
) -> None:
    source = bundles[0].path
    found = cut_everywhere(store.path, lambda s: s.take_in(source), lambda s: s.held())
    assert all(held in ([], [bundles[0].sha256]) for held in found)
    assert found[-2:] == [[bundles[0].sha256]] * 2


def test_a_power_cut_at_any_step_of_a_boot_never_lets_two_boots_have_one_number(
    store: Store,
) -> None:
    first, _ = store.begin_boot()

    def number(store: Store) -> int:
        return int(store.begin_boot()[0].split("-")[0])

    found = cut_everywhere(store.path, lambda s: s.begin_boot(), number)
    assert int(first.split("-")[0]) == 1
    assert set(found) == {2, 3}
    assert found[-2:] == [3, 3]


# --- damage


def test_a_damaged_bundle_is_refused_when_it_is_opened(store: Store, bundles: list[Bundle]) -> None:
    held = store.take_in(bundles[0].path)
    data = held.path.read_bytes()
    held.path.write_bytes(data[:-1])
    with pytest.raises(BundleRefused, match="expected"):
        store.open(held.sha256)
    held.path.write_bytes(data[:40] + b"\0" + data[41:])
    with pytest.raises(BundleRefused):
        store.open(held.sha256)


def test_taking_a_bundle_in_again_mends_a_damaged_copy(store: Store, bundles: list[Bundle]) -> None:
    held = store.take_in(bundles[0].path)
    held.path.write_bytes(b"damaged")
    assert store.take_in(bundles[0].path).sha256 == held.sha256
    assert store.open(held.sha256).length == bundles[0].length


def test_a_bundle_that_is_not_here_is_refused(store: Store) -> None:
    with pytest.raises(BundleRefused, match="not in the store"):
        store.open("0" * 64)
    store.bundle_file("ab" * 32).mkdir()
    with pytest.raises(BundleRefused, match="abababababab is not in the store"):
        store.open("ab" * 32)


def test_a_part_that_is_not_what_it_should_be_is_not_adopted_and_not_kept(
    store: Store, bundles: list[Bundle]
) -> None:
    part = store.path / "bundles" / ".x.part"
    shutil.copyfile(bundles[1].path, part)
    with pytest.raises(BundleRefused):
        store.adopt(part, bundles[0].sha256)
    assert store.held() == []
    assert not part.exists()


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_record("watch", OLD)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            store.save_record("watch", NEW)
    assert store.record("watch") == OLD
    assert [f.name for f in (store.path / "models").iterdir()] == ["watch.json"]


# --- room


def held_in_order(store: Store, bundles: list[Bundle]) -> list[str]:
    for age, bundle in enumerate(bundles):
        file = store.take_in(bundle.path).path
        os.utime(file, (1_000_000 + age, 1_000_000 + age))
    return [b.sha256 for b in bundles]


def test_room_is_made_from_the_oldest_that_may_go(store: Store, bundles: list[Bundle]) -> None:
    shas = held_in_order(store, bundles)
    store._max_bytes = sum(b.length for b in bundles)
    assert store.make_room(1, keep={shas[0]})
    assert store.held() == sorted([shas[0], shas[2], shas[3]])


def test_nothing_is_removed_where_there_is_room(store: Store, bundles: list[Bundle]) -> None:
    shas = held_in_order(store, bundles)
    assert store.make_room(100, keep=set())
    assert store.held() == sorted(shas)


@pytest.mark.parametrize("seed", range(8))
def test_what_must_stay_stays_whatever_is_asked_for(
    store: Store, bundles: list[Bundle], seed: int
) -> None:
    chance = random.Random(seed)
    shas = held_in_order(store, bundles)
    keep = set(chance.sample(shas, chance.randrange(4)))
    store._max_bytes = chance.randrange(1, 5 * bundles[0].length)
    wanted = chance.randrange(6 * bundles[0].length)
    made = store.make_room(wanted, keep)
    left = store.held()
    assert keep <= set(left)
    assert made == (sum(b.length for b in bundles if b.sha256 in keep) + wanted <= store._max_bytes)
    if made:
        assert sum(b.length for b in bundles if b.sha256 in left) + wanted <= store._max_bytes
    else:
        assert left == sorted(shas), "what does not help is not removed"


def test_what_was_fetched_of_blobs_that_nobody_wants_is_removed(store: Store) -> None:
    for blob in ("a" * 64, "b" * 64):
        store.partial_file(blob).write_bytes(b"part")
        store.partial_file(blob).with_suffix(".index").write_bytes(b"index")
    store.forget_partials({"b" * 64})
    assert sorted(f.name[0] for f in (store.path / "partial").iterdir()) == ["b", "b"]


def test_the_bundles_of_a_model_are_told_from_others_and_damage(
    store: Store, bundles: list[Bundle], tmp_path: Path
) -> None:
    ours = store.take_in(bundles[0].path)
    other = store.take_in(write_small_bundle(tmp_path, name="other").path)
    store.bundle_file("f" * 64).write_bytes(b"damaged")
    assert store.held_of("watch") == [ours.sha256]
    assert store.held_of("other") == [other.sha256]
    store.remove(ours.sha256)
    assert store.held_of("watch") == []


# --- boots, proofs, floors


def test_the_first_boot_has_none_before_it(store: Store) -> None:
    boot, previous = store.begin_boot()
    assert boot.startswith("000001-")
    assert previous is None


def test_a_boot_says_how_the_one_before_ended(store: Store) -> None:
    first, _ = store.begin_boot()
    store.end_boot({"imu0/watch": 41})
    second, before = store.begin_boot()
    assert before is not None
    assert (before.boot, before.clean, before.last_seq) == (first, True, {"imu0/watch": 41})
    third, before = store.begin_boot()
    assert before is not None
    assert (before.boot, before.clean) == (second, False), "it never ended in order"
    assert [b[:6] for b in (first, second, third)] == ["000001", "000002", "000003"]
    assert len({b[7:] for b in (first, second, third)}) == 3


def test_a_proof_holds_for_the_same_versions_only(store: Store) -> None:
    proof = Proof("a" * 64, "onnxruntime 1", "0.1.0")
    store.save_proof(proof)
    store.save_proof(proof)
    assert Store(store.path, ROOM).is_proven(proof)
    for other in (
        Proof("b" * 64, "onnxruntime 1", "0.1.0"),
        Proof("a" * 64, "onnxruntime 2", "0.1.0"),
        Proof("a" * 64, "onnxruntime 1", "0.2.0"),
    ):
        assert not store.is_proven(other)


def test_proofs_do_not_grow_without_end_and_the_newest_stay(store: Store) -> None:
    for n in range(70):
        store.save_proof(Proof(f"{n:064x}", "onnxruntime 1", "0.1.0"))
    assert not store.is_proven(Proof(f"{0:064x}", "onnxruntime 1", "0.1.0"))
    assert store.is_proven(Proof(f"{69:064x}", "onnxruntime 1", "0.1.0"))


def test_the_floor_and_failures_survive_a_restart(store: Store) -> None:
    failure = Failure("d" * 64, 3, State.REJECTED, Reason.GOLDEN_FAILED, "off")
    store.raise_floor(Floor("g", "2026-01-01T00:00:00.000001Z"))
    store.save_record("watch", Record(failures=(failure,)))
    again = Store(store.path, ROOM)
    assert again.floor() == Floor("g", "2026-01-01T00:00:00.000001Z")
    assert again.record("watch").failures == (failure,)


# --- one agent at a time


def test_a_store_that_another_has_is_refused_until_that_one_is_done(store: Store) -> None:
    store.lock()
    with pytest.raises(StoreInUse, match="another agent uses this store"):
        Store(store.path, ROOM).lock()
    store.unlock()
    other = Store(store.path, ROOM)
    other.lock()
    other.unlock()


def test_a_killed_process_holds_no_store(store: Store) -> None:
    script = (
        "import sys, time; from pathlib import Path; from edge_agent.store import Store;"
        "s = Store(Path(sys.argv[1]), 9); s.lock(); print('mine', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(store.path)], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"mine\n"
        with pytest.raises(StoreInUse):
            store.lock()
        child.kill()
    store.lock()
    store.unlock()


def test_opening_a_store_leaves_the_work_of_a_running_agent_alone(store: Store) -> None:
    part = store.path / "bundles" / ".working.part"
    part.write_bytes(b"half")
    Store(store.path, ROOM)
    assert part.exists()
