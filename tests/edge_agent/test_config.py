"""A configuration is taken as it is meant, or refused at the place of the mistake."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from edge_agent.config import Config, LoadedConfig, load_config, profile_names
from edge_bundle.errors import ConfigError

BASE = '[device]\nid = "d1"\n[store]\npath = "store"\n'
SOURCE = '[[source]]\nname = "imu0"\nkind = "replay"\npath = "r.npz"\n'


def load(folder: Path, text: str) -> LoadedConfig:
    file = folder / "edge.toml"
    file.write_text(text)
    return load_config(file)


def refusal(folder: Path, text: str, name: str = "edge.toml") -> str:
    """Return what is said of a configuration, without the folder."""
    with pytest.raises(ConfigError) as refused:
        load(folder, text).broker()
    message = str(refused.value)
    assert message.startswith(f"{folder}/{name}:")
    assert "\n" not in message
    return message.removeprefix(f"{folder}/{name}:")


def test_least_configuration_has_every_default(tmp_path: Path) -> None:
    config = load(tmp_path, BASE).config
    assert (config.device.id, config.device.group) == ("d1", "default")
    assert (config.broker.url, config.runtime.threads) == ("mqtt://127.0.0.1:1883", 1)
    assert (config.source, config.model) == ((), ())


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    monkeypatch.setenv("HOME", "/home/pi")
    loaded = load(tmp_path / "etc", BASE)
    assert loaded.resolve("store") == tmp_path / "etc" / "store"
    assert loaded.resolve("../r.npz#0") == tmp_path / "r.npz#0"
    assert loaded.resolve("/var/lib/edge") == Path("/var/lib/edge")
    assert loaded.resolve("~/edge") == Path("/home/pi/edge")
    assert loaded.resolve("~nobody-here/edge") == tmp_path / "etc" / "~nobody-here" / "edge"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: device: is missing, and has no default"),
        ('[device]\nid = "d1"\n', "1:1: store: is missing, and has no default"),
        ('[device]\n[store]\npath = "s"\n', "1:1: device.id: is missing, and has no default"),
        (BASE + "[outbox]\nmax_byte = 3\n", "6:1: outbox.max_byte: unknown key; did you mean "),
        (BASE + "[broken]\n", "5:1: broken: unknown key; did you mean 'broker'?"),
        (BASE + "[broker\n", "5:8: Expected ']'"),
        (BASE + "[device]\n", "5:1: device: is there twice, first in line 1"),
        ('device = "d1"\n[store]\npath = "s"\n', '1:1: device: "d1", expected a table'),
        (BASE + '[runtime]\nthreads = "2"\n', '6:1: runtime.threads: "2", expected a whole numb'),
        (BASE + "[runtime]\nthreads = true\n", "6:1: runtime.threads: true, expected a whole "),
        (
            BASE + "[runtime]\nthreads = 4000000000\n",
            "6:1: runtime.threads: 4000000000, expected a whole number <= 1024",
        ),
        (
            '[device]\nid = "d1"\n[store]\npath = "a\\u0000b"\n',
            '4:1: store.path: "a\\u0000b", expected a path, which has no NUL in it',
        ),
        (
            BASE + '[capture]\ndrifted = true\npath = "\\u0000"\n',
            '7:1: capture.path: "\\u0000", expected a path, which has no NUL in it',
        ),
        (
            BASE + '[[model]]\nname = "m"\nstream = "s"\nbundle = "a\\u0000b"\n',
            '8:1: model[0].bundle: "a\\u0000b", expected a path, which has no NUL in it',
        ),
        (f'extends = ["{"x" * 300}.toml"]\n' + BASE, "1:12: extends[0]: "),
        (
            BASE + "[telemetry]\nevery_s = 1e300\n",
            "6:1: telemetry.every_s: 1e300, expected a number <= 604800",
        ),
        (BASE + "[runtime]\nthreads = 0\n", "6:1: runtime.threads: 0, expected a whole number >= "),
        (
            BASE + '[runtime]\nprefer = ["onx"]\n',
            "6:11: runtime.prefer[0]: no value 'onx'; did you mean 'onnx'? known: onnx, tflite",
        ),
        (
            BASE + "[runtime]\nprefer = []\n",
            "6:1: runtime.prefer: a list, expected a list of length >= 1",
        ),
        (
            BASE + '[[source]]\nkind = "replay"\nname = "a"\npath = "p"\nfactor = "fast"\n',
            "9:1: source[0].factor: no value 'fast'; known: a number, max",
        ),
        (BASE + "[broker]\nca = 3\n", "6:1: broker.ca: 3, expected a string"),
        (
            '[device]\nid = "my device"\n[store]\npath = "s"\n',
            '2:1: device.id: "my device", expected 1 to 64 letters, digits, ',
        ),
        (
            '[device]\nid = "d1\\n"\n[store]\npath = "s"\n',
            '2:1: device.id: "d1\\n", expected 1 to ',
        ),
        (
            f'[device]\nid = "{"d" * 65}"\n[store]\npath = "s"\n',
            f'2:1: device.id: "{"d" * 59}…, expected 1 to 64',
        ),
        (
            '[device]\nid = "d"\nlabels = {room = 3}\n[store]\npath = "s"\n',
            "3:11: device.labels.room: 3, expected a string",
        ),
        (BASE + '[source]\nname = "a"\n', "5:1: source: one table [source], expected a list of "),
        (BASE + SOURCE + 'policy = "blok"\n', "9:1: source[0].policy: no value 'blok'; did you "),
        (BASE + SOURCE + "factor = 0\n", "9:1: source[0].factor: 0, expected a number > 0"),
        (BASE + SOURCE + "factor = inf\n", "9:1: source[0].factor: inf, expected a finite number"),
        (
            BASE + SOURCE + 'channels = [{name = "ax"}]\n',
            "9:13: source[0].channels[0].unit: is missing, and has no default",
        ),
        (BASE + SOURCE.replace("replay", "imu"), "7:1: source[0].kind: no value 'imu'; known: rep"),
        (BASE + SOURCE + SOURCE, "10:1: source[1].name: 'imu0' is there twice"),
        (
            BASE + SOURCE + '[[model]]\nname = "har"\nstream = "imu"\n',
            "11:1: model[0].stream: no source 'imu'; did you mean 'imu0'? known: imu0",
        ),
        (
            BASE + '[[model]]\nname = "har"\nstream = "imu"\n',
            "7:1: model[0].stream: no source 'imu'; known: none",
        ),
        (
            BASE + SOURCE + '[[model]]\nname = "har"\nstream = "imu0"\n' * 2,
            "13:1: model[1].name: 'har' is there twice",
        ),
        (BASE + '[broker]\nroot = "edge/#"\n', "6:1: broker.root: 'edge/#', expected betwee"),
        (BASE + '[broker]\nroot = "/edge"\n', "6:1: broker.root: '/edge', expected betwee"),
        (BASE + '[broker]\nurl = "http://x"\n', "6:1: broker.url: 'http://x': expected mqtt://"),
        (
            BASE + '[broker]\nurl = "mqtt://x:99999"\n',
            "6:1: broker.url: 'mqtt://x:99999': port 9",
        ),
        (BASE + '[broker]\nurl = "mqtt://me:secret@x"\n', "6:1: broker.url: user and password ha"),
        ("extends = 3\n" + BASE, "1:1: extends: expected a list of profile names or .toml files"),
        (
            'extends = ["raspberry-pi-5"]\n' + BASE,
            "1:12: extends[0]: no profile 'raspberry-pi-5'; did you mean 'raspberry-pi-4'? known: ",
        ),
        ('extends = ["generic", "x"]\n' + BASE, "1:23: extends[1]: no profile 'x'; known: generic"),
        ('extends = ["edge.toml"]\n' + BASE, "1:12: extends[0]: edge.toml extends itself"),
        ('extends = ["./edge.toml"]\n' + BASE, "1:12: extends[0]: ./edge.toml extends itself"),
    ],
)
def test_mistake_is_named_by_place_key_and_what_was_expected(
    tmp_path: Path, text: str, message: str
) -> None:
    assert refusal(tmp_path, text).startswith(message)


def test_secret_in_the_address_is_not_repeated(tmp_path: Path) -> None:
    assert "secret" not in refusal(tmp_path, BASE + '[broker]\nurl = "mqtt://me:secret@x"\n')


def test_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: No such file"):
        load_config(tmp_path / "gone.toml")


# --- what a configuration extends


def test_every_profile_that_comes_along_can_be_extended(tmp_path: Path) -> None:
    assert {"generic", "raspberry-pi-zero-2w", "jetson-orin"} <= set(profile_names())
    for name in profile_names():
        config = load(tmp_path, f'extends = ["{name}"]\n' + BASE).config
        assert (config.device.id, config.device.profile) == ("d1", name)


def test_profile_that_is_found_twice_has_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = profile_names()
    again = tmp_path / "firmware_configs"
    again.mkdir()
    for name in ("generic", "own"):
        (again / f"{name}.toml").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert profile_names() == sorted([*before, "own"])


def test_tables_are_merged_lists_are_replaced_and_the_nearest_file_wins(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(
        'extends = ["generic"]\n[device]\ngroup = "hall"\n[runtime]\nthreads = 3\n' + SOURCE
    )
    (tmp_path / "room.toml").write_text("[runtime]\nthreads = 4\n[outbox]\nmax_bytes = 16384\n")
    text = 'extends = ["site.toml", "room.toml"]\n' + BASE
    config = load(tmp_path, text).config
    assert (config.device.group, config.device.id) == ("hall", "d1")
    assert (config.runtime.threads, config.outbox.max_bytes) == (4, 16384)
    assert [s.name for s in config.source] == ["imu0"]
    other = SOURCE.replace("imu0", "mic0")
    assert [s.name for s in load(tmp_path, text + other).config.source] == ["mic0"]


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (
            "[outbox]\nmax_byts = 1\n",
            "2:1: outbox.max_byts: unknown key; did you mean 'max_bytes'?",
        ),
        ('[store]\nmax_bytes = "big"\n', '2:1: store.max_bytes: "big", expected a whole number'),
        (
            '[[source]]\nkind = "replay"\n[store]\nmax_bytes = "big"\n',
            "1:1: source[0].name: is missing, and has no default",
        ),
        ("extends = [\n", "2:1: "),
        ('extends = ["edge.toml"]\n', "1:12: extends[0]: edge.toml extends itself"),
        ('extends = ["gone.toml"]\n', "1:12: extends[0]: "),
        (SOURCE + SOURCE, "6:1: source[1].name: 'imu0' is there twice"),
    ],
)
def test_mistake_in_an_extended_file_is_named_there(
    tmp_path: Path, base: str, message: str
) -> None:
    (tmp_path / "base.toml").write_text(base)
    text = 'extends = ["base.toml"]\n' + BASE
    assert refusal(tmp_path, text, "base.toml").startswith(message)


def test_mistake_behind_a_key_that_another_file_sets_is_named_in_its_own_file(
    tmp_path: Path,
) -> None:
    """The base alone lacks ``store.path``, which hides what comes after it there."""
    (tmp_path / "base.toml").write_text('[store]\nmax_bytes = 1\n[runtime]\nthreads = "x"\n')
    message = refusal(tmp_path, 'extends = ["base.toml"]\n' + BASE, "base.toml")
    assert message == '4:1: runtime.threads: "x", expected a whole number'


def test_extending_without_end_is_refused(tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / f"{n}.toml").write_text(f'extends = ["{n + 1}.toml"]\n')
    with pytest.raises(ConfigError, match=r"7\.toml:1:12: extends\[0\]: more than 8 files deep"):
        load(tmp_path, 'extends = ["0.toml"]\n' + BASE)


def test_later_finding_names_the_file_that_set_the_key(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(SOURCE)
    loaded = load(tmp_path, 'extends = ["base.toml"]\n' + BASE)
    assert str(loaded.error(("source", 0, "path"), "m")) == (
        f"{tmp_path}/base.toml:4:1: source[0].path: m"
    )
    assert str(loaded.error(("store", "path"), "m")) == f"{tmp_path}/edge.toml:5:1: store.path: m"
    assert str(loaded.error(("nowhere",), "m")).startswith(f"{tmp_path}/edge.toml:1:1: nowhere")


# --- the broker's secrets

BROKER = BASE + '[broker]\nuser = "d1"\npassword_file = "secret"\n'


def test_password_is_read_from_a_private_file_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("open sesame\n")
    (tmp_path / "secret").chmod(0o600)
    broker = load(tmp_path, BROKER).broker()
    assert (broker.user, broker.password) == ("d1", "open sesame")
    assert "sesame" not in repr(broker)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_password_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "secret").write_text("open sesame\n")
    (tmp_path / "secret").chmod(mode)
    message = refusal(tmp_path, BROKER)
    assert message.startswith(f"7:1: broker.password_file: {tmp_path}/secret: others may read it")


def test_password_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    expected = f"7:1: broker.password_file: {tmp_path}/secret: "
    assert refusal(tmp_path, BROKER) == expected + "No such file or directory"
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    (tmp_path / "secret").chmod(0o600)
    assert refusal(tmp_path, BROKER) == expected + "not UTF-8 text"


def test_password_without_a_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("open sesame\n")
    (tmp_path / "secret").chmod(0o600)
    message = refusal(tmp_path, BROKER.replace('user = "d1"\n', ""))
    assert message == "6:1: broker.password_file: a password needs a user"


TLS = BASE + '[broker]\nurl = "mqtts://broker:8883"\n'


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, key = tmp_path_factory.mktemp("keys"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "d1")])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    dated = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    (folder / "cert.pem").write_bytes(dated.sign(key, SHA256()).public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return folder


def test_certificates_that_can_be_used_are_taken(tmp_path: Path, keys: Path) -> None:
    names = {"ca": "cert.pem", "cert": "cert.pem", "key": "key.pem"}
    lines = [f'{name} = "{keys / file}"\n' for name, file in names.items()]
    broker = load(tmp_path, TLS + "".join(lines)).broker()
    assert (broker.ca, broker.key) == (str(keys / "cert.pem"), str(keys / "key.pem"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('ca = "gone.pem"\n', "7:1: broker.ca: {folder}/gone.pem: no such file"),
        ('ca = "edge.toml"\n', "7:1: broker.ca: {folder}/edge.toml: cannot be used: "),
        ('key = "edge.toml"\n', "7:1: broker.key: a key needs a cert"),
        ('cert = "{keys}/cert.pem"\n', "7:1: broker.cert: {keys}/cert.pem: cannot be used: "),
    ],
)
def test_certificate_that_cannot_be_used_is_named(
    tmp_path: Path, keys: Path, lines: str, message: str
) -> None:
    told = refusal(tmp_path, TLS + lines.format(keys=keys))
    assert told.startswith(message.format(folder=tmp_path, keys=keys))


def test_certificate_for_a_connection_without_tls_is_refused(tmp_path: Path, keys: Path) -> None:
    message = refusal(tmp_path, BASE + f'[broker]\nca = "{keys}/cert.pem"\n')
    assert message == "6:1: broker.ca: is for a url that begins mqtts://"


def test_configuration_cannot_be_changed() -> None:
    assert Config.__struct_config__.frozen


# --- figures, capture, lateness


def test_capture_is_off_until_a_table_says_what_to_keep(tmp_path: Path) -> None:
    assert load(tmp_path, BASE).config.capture is None
    capture = load(tmp_path, BASE + '[capture]\npath = "kept"\ndrifted = true\n').config.capture
    assert capture is not None
    assert (capture.path, capture.uncertain_below, capture.max_bytes) == ("kept", None, 64 << 20)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('[capture]\npath = "kept"\n', "5:1: capture: keeps nothing: say uncertain_below = 0.6"),
        ("[capture]\ndrifted = true\n", "5:1: capture.path: is missing"),
        ("[telemetry]\nevery_s = -1\n", "6:1: telemetry.every_s: -1"),
        ("[telemetry]\nevery = 1\n", "6:1: telemetry.every: unknown key"),
        (
            "[outbox]\nmax_bytes = 400\n",
            "6:1: outbox.max_bytes: 400, expected 0, or at",
        ),
    ],
)
def test_table_that_says_nothing_useful_is_refused(
    tmp_path: Path, table: str, message: str
) -> None:
    assert message in refusal(tmp_path, BASE + table)


def test_lateness_of_a_model_is_a_policy(tmp_path: Path) -> None:
    source = '[[source]]\nname = "s"\nkind = "replay"\npath = "x.npz"\n'
    model = source + '[[model]]\nname = "m"\nstream = "s"\n'
    assert load(tmp_path, BASE + model).config.model[0].late is None
    assert load(tmp_path, BASE + model + 'late = "keep"\n').config.model[0].late == "keep"
    told = refusal(tmp_path, BASE + model + 'late = "drp"\n')
    assert "late: no value 'drp'; did you mean 'drop'?" in told


@pytest.mark.parametrize("value", ["0", "-1", "inf", "1e9"])
def test_memory_of_a_stream_is_bounded(tmp_path: Path, value: str) -> None:
    source = '[[source]]\nname = "s"\nkind = "replay"\npath = "x.npz"\n'
    assert load(tmp_path, BASE + source).config.source[0].keep_s is None
    assert load(tmp_path, BASE + source + "keep_s = 90\n").config.source[0].keep_s == 90
    assert "source[0].keep_s" in refusal(tmp_path, BASE + source + f"keep_s = {value}\n")
