"""The main job of the operator's side, on real brokers with simulated devices."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge_wire import trust
from edge_wire.messages import Reason
from fleet.display import show_status
from fleet.errors import DevicesFailed
from fleet.office import open_office
from fleet.operations import Pushed
from fleet.status import look
from fleet.watching import Goal, Verdict
from tests.brokers import RunningBroker
from tests.fleet.world import World, blob_bytes, one_document, running_command
from tests.simulators.device import Behaviour, Device, Listener, wait_until

NAMES = ("d1", "d2", "d3")


@pytest.fixture
def device(world: World) -> Iterator[Device]:
    with Device(world.url, "d1", world.root) as device:
        yield device


def sent_once(world: World, pushed: Pushed) -> int:
    """Return how many bytes the pushed version has on the wire when each chunk crosses once."""
    with open_office(world.folder.path) as office:
        known = office.registry.find_release(pushed.model, pushed.version, "onnx-float")
    assert known is not None
    return blob_bytes(known.encoding.length, known.encoding.chunk_bytes)


def test_a_fleet_moves_on_and_back_and_each_chunk_leaves_once(
    broker: RunningBroker, tmp_path: Path
) -> None:
    world = World(tmp_path, broker.url)
    first, second = world.bundle("1.0.0"), world.bundle("2.0.0")
    with ExitStack() as stack:
        listener = stack.enter_context(Listener(broker.url))
        devices = [stack.enter_context(Device(broker.url, n, world.root)) for n in NAMES]
        for bundle in (first, second):
            listener.chunks.clear()
            pushed = world.push(bundle)
            version = bundle.manifest.version
            assert [(d.device, d.state, d.version, d.reason) for d in pushed.devices] == [
                (name, "committed", version, None) for name in NAMES
            ]
            assert pushed.seconds == max(d.seconds or 0 for d in pushed.devices)
            assert pushed.bytes_sent == sent_once(world, pushed)
            wait_until(lambda: len(listener.chunks) >= 4)
            assert sorted(n for _, n in listener.chunks) == [0, 1, 2, 3]
            whole = bundle.path.read_bytes()
            assert all(device.bundles[bundle.sha256] == whole for device in devices)
        listener.chunks.clear()
        back = world.rollback()
        assert (back.model, back.groups, back.model_bytes) == ("watch", {"g": "1.0.0"}, 0)
        assert [(d.state, d.version) for d in back.devices] == [("committed", "1.0.0")] * 3
        assert [device.running() for device in devices] == ["1.0.0"] * 3
        assert listener.chunks == []
        issued = [a.issued for a in devices[0].assignments]
        assert issued == sorted(set(issued))
        # As a user sees it; and forth again, which needs no bytes either.
        again = world.call("push", str(second.path), "--to", "g", "--watch", "--json")
        assert again.returncode == 0, again.stderr
        document = one_document(again.stdout)
        assert list(document) == ["model", "version", "group", "seconds", "bytes_sent", "devices"]
        assert (document["version"], document["bytes_sent"]) == ("2.0.0", 0)
        assert list(document["devices"][0]) == [
            "device", "state", "version", "seconds", "reason", "detail",
        ]  # fmt: skip
        shown = show_status(look(world.folder.path))
        assert [line.split()[:6] for line in shown.splitlines()[1:]] == [
            [name, "online", "g", "watch", "2.0.0", "committed"] for name in NAMES
        ]


def test_a_device_that_lost_a_chunk_asks_again_and_gets_only_that(
    world: World, device: Device
) -> None:
    device.behaviour.lose = {2}
    bundle = world.bundle("1.0.0")
    pushed = world.push(bundle)
    assert device.bundles[bundle.sha256] == bundle.path.read_bytes()
    assert device.wants == [{0, 1, 2, 3}, {2}]
    assert pushed.bytes_sent == sent_once(world, pushed) + (64 << 10)


def test_a_push_without_watch_ends_when_the_bundle_is_there(world: World, device: Device) -> None:
    bundle = world.bundle("1.0.0")
    pushed = world.push(bundle, goal=Goal.HELD)
    assert [d.device for d in pushed.devices] == ["d1"]
    assert bundle.sha256 in device.bundles


def test_a_device_that_refuses_stops_the_rollout_and_says_why_and_a_retry_mends_it(
    world: World, device: Device
) -> None:
    world.push(world.bundle("1.0.0"))
    device.behaviour.reject = Reason.GOLDEN_FAILED
    bundle = world.bundle("2.0.0")
    with Device(world.url, "d2", world.root) as other:
        failed = world.call("push", str(bundle.path), "--to", "g", "--watch", "--json")
        assert failed.returncode == 6
        assert failed.stderr.splitlines()[-1] == (
            "edge-fleet: d1: rejected: golden_failed: told to"
        )
        told = {d["device"]: d for d in one_document(failed.stdout)["devices"]}
        assert (told["d1"]["state"], told["d1"]["version"]) == ("rejected", "1.0.0")
        assert (told["d1"]["reason"], told["d1"]["detail"]) == ("golden_failed", "told to")
        assert (told["d2"]["state"], other.running()) == ("committed", "2.0.0")
        device.behaviour.reject = None
        pushed = world.push(bundle, retry=True)
    stable = device.assignments[-1].models["watch"].stable
    assert stable is not None
    assert (stable.version, stable.attempt) == ("2.0.0", 2)
    assert [d.version for d in pushed.devices] == ["2.0.0", "2.0.0"]
    # The same version once more was no new one, so what is before it is what was before.
    assert world.rollback().groups == {"g": "1.0.0"}


def test_a_device_that_does_not_trust_us_is_named(world: World) -> None:
    stranger = trust.make_root(trust.make_key())
    with Device(world.url, "d1", stranger), pytest.raises(DevicesFailed, match=r"d1.*untrusted"):
        world.push(world.bundle("1.0.0"))


def test_a_device_that_does_not_answer_in_time_is_named(world: World) -> None:
    with (
        Device(world.url, "d1", world.root),
        Device(world.url, "d2", world.root, behaviour=Behaviour(deaf=True)),
        pytest.raises(DevicesFailed, match=r"^d2: none: timeout: not done within 1.5 s$") as failed,
    ):
        world.push(world.bundle("1.0.0"), timeout_s=1.5)
    assert [d.state for d in failed.value.result.devices] == ["committed", "none"]


def test_a_model_that_no_device_has_is_no_success(world: World, device: Device) -> None:
    bundle = world.bundle("1.0.0", name="wacht")
    with pytest.raises(DevicesFailed, match="d1: no_model: the device has no model wacht"):
        world.push(bundle)
    assert device.bundles == {}


def test_a_stale_report_passes_for_nothing(world: World) -> None:
    bundle = world.bundle("1.0.0")
    with Device(world.url, "d1", world.root) as device:
        world.push(bundle)
        device.behaviour.deaf = True
        # It runs just this, and said so; but not about the assignment that comes now.
        with pytest.raises(DevicesFailed, match="d1: committed: timeout"):
            world.push(bundle, timeout_s=0.8)


def test_without_an_online_device_the_assignment_waits_and_serve_sends_to_latecomers(
    world: World,
) -> None:
    bundle = world.bundle("1.0.0")
    with Device(world.url, "gone", world.root):
        pass
    pushed = world.push(bundle)
    assert [(d.device, d.state, d.seconds) for d in pushed.devices] == [("gone", "stopped", None)]
    assert any(isinstance(s, str) and "no online device of g" in s for s in world.said)
    with running_command("--dir", str(world.folder.path), "serve") as serving:
        with Device(world.url, "late", world.root) as late:
            wait_until(lambda: late.running() == "1.0.0")
            assert late.bundles[bundle.sha256] == bundle.path.read_bytes()
            # A push beside it sends alone: each chunk still leaves once.
            with Listener(world.url) as listener:
                second = world.push(world.bundle("2.0.0"))
                assert sorted(n for _, n in listener.chunks) == [0, 1, 2, 3]
            assert second.bytes_sent == sent_once(world, second)
        serving.terminate()
        _, said = serving.communicate(timeout=10)
    assert serving.returncode == 0
    assert "serving 1 bundles of g" in said
    assert "Traceback" not in said


def test_every_group_that_runs_a_model_goes_back_unless_one_is_named(world: World) -> None:
    first, second = world.bundle("1.0.0"), world.bundle("2.0.0")
    with (
        Device(world.url, "d1", world.root, "a") as one,
        Device(world.url, "d2", world.root, "b") as two,
    ):
        for bundle in (first, second):
            for group in ("a", "b"):
                world.push(bundle, group=group)
        assert world.rollback(group="a").groups == {"a": "1.0.0"}
        assert (one.running(), two.running()) == ("1.0.0", "2.0.0")
        world.push(second, group="a")
        back = world.rollback()
        assert (back.groups, back.model_bytes) == ({"a": "1.0.0", "b": "1.0.0"}, 0)
        assert (one.running(), two.running()) == ("1.0.0", "1.0.0")


def test_variants_travel_in_order_of_preference(world: World, device: Device) -> None:
    small = world.bundle("1.0.0", variant="onnx-int8", salt="int8")
    large = world.bundle("1.0.0")
    world.push(small, large)
    stable = device.assignments[-1].models["watch"].stable
    assert stable is not None
    assert [v.variant for v in stable.variants] == ["onnx-int8", "onnx-float"]
    assert [v.requires.formats for v in stable.variants] == [("onnx",), ("onnx",)]
    assert list(device.bundles) == [small.sha256]


def test_progress_tells_each_change_of_each_device(world: World, device: Device) -> None:
    world.push(world.bundle("1.0.0"))
    states = [v.state for v in world.said if isinstance(v, Verdict)]
    assert states[0] == "none"
    assert states[-1] == "committed"
    assert device.name in {v.device for v in world.said if isinstance(v, Verdict)}
