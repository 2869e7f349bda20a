"""Whatever goes wrong ends in one line and a stable exit code, and the next command goes on."""

import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from edge_bundle.errors import ConfigError
from edge_bundle.manifest import Requires
from edge_wire import trust
from edge_wire.credentials import BrokerTable
from edge_wire.errors import LinkError, MessageRefused
from edge_wire.link import Message
from edge_wire.messages import ModelReport, Reported
from fleet.office import open_office
from fleet.operations import init
from fleet.registry import Registry
from fleet.releases import take_in
from fleet.session import Session
from fleet.status import look
from tests.brokers import RunningBroker, free_port
from tests.fleet.world import World, call_command, make_bundle, one_document, running_command
from tests.simulators.device import Behaviour, Device, Listener, wait_until


def absent(tmp_path: Path) -> World:
    return World(tmp_path, f"mqtt://127.0.0.1:{free_port()}")


class PowerCut(Exception):
    """Stands for the moment at which the machine stops."""


def test_a_push_cut_off_before_it_was_published_is_finished_by_the_next_command(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = world.bundle("1.0.0")

    def cut(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(Session, "publish", cut)
        with pytest.raises(PowerCut):
            world.push(bundle)
    with Listener(world.url) as listener:
        assert listener.desired == []
        look(world.folder.path)
        wait_until(lambda: listener.desired)
        assignment = trust.verify(listener.desired[0][1], world.root)
        stable = assignment.models["watch"].stable
        assert stable is not None
        assert stable.version == "1.0.0"
        # And only once.
        look(world.folder.path)
        assert len(listener.desired) == 1


def test_a_push_cut_off_after_it_was_published_is_published_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(Registry, "mark_published", cut)
        with pytest.raises(PowerCut):
            world.push(world.bundle("1.0.0"))
    with Listener(world.url) as listener, open_office(world.folder.path) as office:
        with office.connect():
            wait_until(lambda: len(listener.desired) == 2)
        assert listener.desired[0] == listener.desired[1]
        assert office.registry.assignments(unpublished_only=True) == []


def test_a_broker_that_forgot_is_told_again_by_serve(
    one_broker: RunningBroker, world: World
) -> None:
    world.push(world.bundle("1.0.0"))
    with running_command("--dir", str(world.folder.path), "serve") as serving:
        with Listener(world.url) as listener:
            wait_until(lambda: listener.desired)
        one_broker.restart()
        with Device(world.url, "d2", world.root) as device:
            wait_until(lambda: device.running() == "1.0.0")
        serving.send_signal(signal.SIGINT)
        _, said = serving.communicate(timeout=10)
    assert serving.returncode == 0, said


def test_a_broker_that_is_not_there_ends_in_one_line_in_time(tmp_path: Path) -> None:
    world = absent(tmp_path)
    bundle = world.bundle("1.0.0")
    began = time.monotonic()
    done = world.run("push", str(bundle.path), "--to", "g", "--json")
    assert time.monotonic() - began < 10
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.startswith("edge-fleet: broker 127.0.0.1:")
    assert len(done.stderr.splitlines()) == 1
    # Nothing was decided.
    with open_office(world.folder.path) as office:
        assert office.registry.assignments() == []


def test_a_broker_that_does_not_answer_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.session.CONNECT_S", 1.0)
    threads = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        world = World(tmp_path, f"mqtt://127.0.0.1:{silent.getsockname()[1]}")
        bundle, began = world.bundle("1.0.0"), time.monotonic()
        with pytest.raises(LinkError):
            world.push(bundle)
        assert time.monotonic() - began < 2
    wait_until(lambda: threading.active_count() == threads)


def test_a_broker_that_goes_away_before_it_confirms_is_said(
    one_broker: RunningBroker, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.session.PUBACK_S", 1.0)
    first = world.bundle("1.0.0")
    with open_office(world.folder.path) as office, office.connect() as session:
        one_broker.stop()
        with pytest.raises(LinkError, match="no confirmation of edge/v1/fleet/g/desired"):
            session.publish(Message("edge/v1/fleet/g/desired", b"x"))
    one_broker.start()
    assert world.push(first).version == "1.0.0"


def test_the_same_version_with_other_bytes_is_refused_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    world = absent(tmp_path)
    first, other = world.bundle("1.0.0"), world.bundle("1.0.0", salt="other")
    with open_office(world.folder.path) as office:
        take_in(office.folder, office.registry, first, lambda _text: None)
    done = world.call("push", str(other.path), "--to", "g")
    assert done.returncode == 3
    assert "give it a new version" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"no bundle", 3, "not a whole bundle"),
        (b"", 3, "not a whole bundle"),
        (None, 2, "No such file"),
    ],
)
def test_a_file_that_is_no_bundle_ends_in_one_line(
    tmp_path: Path, content: bytes | None, code: int, said: str
) -> None:
    world = absent(tmp_path)
    file = tmp_path / "x.bundle"
    if content is not None:
        file.write_bytes(content)
    done = world.call("push", str(file), "--to", "g", "--json")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_bundles_of_two_versions_are_no_variants(tmp_path: Path) -> None:
    world = absent(tmp_path)
    with pytest.raises(ConfigError, match=r"is watch 2\.0\.0, .* is watch 1\.0\.0"):
        world.push(world.bundle("1.0.0"), world.bundle("2.0.0"))
    with pytest.raises(ConfigError, match="are both variant onnx-float"):
        world.push(world.bundle("1.0.0"), world.bundle("1.0.0", salt="other"))


def test_a_bundle_that_is_not_for_live_samples_is_not_pushed(tmp_path: Path) -> None:
    bundle = absent(tmp_path).bundle("1.0.0", stream=None)
    done = call_command("--dir", str(tmp_path / "fleet"), "push", str(bundle.path), "--to", "g")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "edge-fleet: watch-1.0.0-onnx-float.bundle takes prepared tensors: it has no [stream]; "
        "build it with --spec\n"
    )


def test_a_group_that_cannot_stand_in_a_topic_is_refused(tmp_path: Path) -> None:
    world = absent(tmp_path)
    done = world.call("push", str(world.bundle("1.0.0").path), "--to", "a/#")
    assert done.returncode == 2
    assert "group 'a/#': expected" in done.stderr


def test_a_rollback_of_what_nobody_runs_or_of_the_first_version_is_refused(world: World) -> None:
    done = world.call("rollback", "watch", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "edge-fleet: no group runs a model 'watch'; known: none\n"
    world.push(world.bundle("1.0.0"))
    for model, group, said in (
        ("wacth", None, r"did you mean watch\?"),
        ("watch", "h", "group 'h' runs no watch; known: g"),
        ("watch", None, "g ran nothing of watch before 1.0.0"),
    ):
        with pytest.raises(ConfigError, match=said):
            world.rollback(model, group)
    with open_office(world.folder.path) as office:
        assert office.registry.assignments(unpublished_only=True) == []


def test_no_group_goes_back_where_one_of_them_cannot(world: World) -> None:
    first, second = world.bundle("1.0.0"), world.bundle("2.0.0")
    for bundle, group in ((first, "a"), (second, "a"), (second, "b")):
        world.push(bundle, group=group)
    with pytest.raises(ConfigError, match="b ran nothing of watch before"):
        world.rollback()
    with open_office(world.folder.path) as office:
        assert [r.version for r in office.registry.stack("a", "watch")] == ["1.0.0", "2.0.0"]


def test_a_damaged_copy_stops_no_other_model_and_is_mended_by_a_push(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = world.bundle("1.0.0")
    world.push(bundle)
    for file in (*world.folder.path.glob("b*/*.bundle"), *world.folder.path.glob("b*/*.blob")):
        file.write_bytes(b"damaged")
    with Device(world.url, "d2", world.root, "h") as device:
        world.push(world.bundle("2.0.0"), group="h")
        assert device.running() == "2.0.0"
    assert "push its bundle again" in caplog.text
    with Device(world.url, "d1", world.root) as device:
        world.push(bundle)
        assert device.bundles[bundle.sha256] == bundle.path.read_bytes()


def test_an_assignment_that_would_be_too_large_changes_nothing(world: World) -> None:
    profiles = tuple(f"profile-{n}" for n in range(9000))
    requires = Requires(profiles=profiles)
    bundle = make_bundle(world.folder.path.parent, "1.0.0", requires=requires)
    with pytest.raises(MessageRefused, match="at most 98304"):
        world.push(bundle)
    with open_office(world.folder.path) as office:
        assert office.registry.assignments() == []
        assert office.registry.models() == {}


def test_what_devices_say_does_not_steer_the_operators_terminal(world: World) -> None:
    with Device(world.url, "d1", world.root) as device:
        models = {"\x1b[31mred": ModelReport(None, "none")}
        device.say(Reported(1, "000001-ab", 99, "", models))
        time.sleep(0.1)
        shown = world.call("status").stdout
    assert "?[31mred" in shown
    assert "\x1b" not in shown


def test_devices_that_were_seen_once_are_remembered(
    one_broker: RunningBroker, world: World
) -> None:
    with Device(world.url, "d1", world.root):
        assert len(look(world.folder.path).devices) == 1
    one_broker.restart()
    document = one_document(world.call("status", "--json").stdout)
    assert document["groups"] == {}
    (device,) = document["devices"]
    assert (device["device"], device["availability"], device["group"]) == ("d1", "online", "g")
    assert device["models"]["watch"]["state"] == "none"
    assert device["age_s"] >= 0


def test_ctrl_c_ends_a_push_in_one_line_and_what_was_decided_stands(world: World) -> None:
    behaviour = Behaviour(deaf=True)
    with Device(world.url, "d1", world.root, behaviour=behaviour), Listener(world.url) as listener:
        bundle = world.bundle("1.0.0")
        arguments = ("--dir", str(world.folder.path), "push", str(bundle.path), "--to", "g")
        with running_command(*arguments) as pushing:
            wait_until(lambda: listener.desired)
            time.sleep(0.3)
            pushing.send_signal(signal.SIGINT)
            out, said = pushing.communicate(timeout=10)
    assert (pushing.returncode, out) == (6, "")
    assert said.splitlines()[-1] == "edge-fleet: interrupted"
    assert "Traceback" not in said


def test_a_push_leaves_no_thread(world: World) -> None:
    before = threading.active_count()
    world.push(world.bundle("1.0.0"))
    assert threading.active_count() == before


def test_of_two_commands_at_once_the_later_wins_and_the_other_is_told(world: World) -> None:
    where = ("--dir", str(world.folder.path))
    paths = [str(world.bundle(f"{n}.0.0").path) for n in (1, 2)]
    with (
        Device(world.url, "d1", world.root) as device,
        running_command(*where, "push", paths[0], "--to", "g", "--watch") as one,
        running_command(*where, "push", paths[1], "--to", "g", "--watch") as two,
    ):
        said = [child.communicate(timeout=20)[1] for child in (one, two)]
        with open_office(world.folder.path) as office:
            newest = office.registry.assignment("g")
        assert newest is not None
        assert device.assignments[-1] == newest
    # The slower one wins; the other came through before, or was told that it was superseded.
    for child, text in zip((one, two), said, strict=True):
        assert child.returncode == 0 or "superseded: another command assigned" in text
    assert 0 in {one.returncode, two.returncode}


def test_a_second_init_and_an_unknown_option_are_usage(tmp_path: Path) -> None:
    init(tmp_path, BrokerTable("mqtt://h"))
    assert call_command("push", "--dir", str(tmp_path), "x").returncode == 2
    assert call_command("--dir", str(tmp_path), "frobnicate").returncode == 2
