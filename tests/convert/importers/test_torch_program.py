"""A program of ``torch.export.save`` becomes an ONNX model that gives the same outputs."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from convert.given.source import read_onnx
from convert.importers.importer import import_model
from convert.onnx.canonical import canonicalise
from convert.parity import measure_parity
from edge_bundle.errors import ConfigError, ModelRefused
from tests.convert.importers.examples import require_torch, run_onnx, train_elsewhere

PARITY = 1e-5
TRAIN = """
import numpy as np, torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(6, 8, 5, padding=2)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        y = torch.relu(self.norm(self.conv(x))).mean(-1)
        return torch.softmax(self.head(self.drop(y)), -1)

class Sum(nn.Module):
    def forward(self, x, y):
        return x + y

class Singular(nn.Module):
    def forward(self, x):
        return torch.linalg.svd(x)[1]

def save(name, module, *example, **more):
    torch.export.save(torch.export.export(module, example, **more), name)

torch.manual_seed(0)
net = Net()
for _ in range(20):
    net(torch.randn(16, 6, 50) * 2 + 1)
x = torch.randn(12, 6, 50)
save("training.pt2", net.train(), x[:1])
net.eval()
save("net.pt2", net, x[:1])
save("free.pt2", net, x[:2], dynamic_shapes=({0: torch.export.Dim("n")},))
save("two.pt2", Sum(), x, x)
save("svd.pt2", Singular(), torch.randn(4, 4))
torch.save(net, "pickled.pt")
torch.save(net.state_dict(), "weights.pth")
torch.jit.trace(net, x[:1]).save("script.pt")
np.savez("own.npz", x=x.numpy(), y=net(x).detach().numpy())
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_torch()
    folder = tmp_path_factory.mktemp("torch")
    train_elsewhere(TRAIN, folder)
    return folder


def ignore(text: str) -> None:
    """Show no progress."""


@pytest.mark.parametrize("name", ["net.pt2", "free.pt2"])
def test_outputs_are_pytorchs_own(
    trained: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    imported = import_model(trained / name, True, ignore)
    assert imported is not None
    assert capfd.readouterr() == ("", "")
    assert imported.framework.startswith("PyTorch ")
    assert imported.exporter.startswith("torch.onnx ")
    assert "differ from PyTorch's own by at most" in imported.notes[-1]
    own = np.load(trained / "own.npz")
    found = np.concatenate([run_onnx(imported.data, x[None]) for x in own["x"]])
    assert np.abs(found - own["y"]).max() <= PARITY
    opset = onnx.load_model_from_string(imported.data).opset_import[0].version
    assert opset == 18

    source = read_onnx(trained / name, imported.data)
    assert source.input.shape == (1, 6, 50)
    inputs = [x[None] for x in own["x"]]
    plain = canonicalise(measure_parity(source, source.outputs, inputs)).data
    found = np.concatenate([run_onnx(plain, x) for x in inputs])
    assert np.abs(found - own["y"]).max() <= PARITY


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("training.pt2", r"differs from PyTorch's own outputs .* saved while training"),
        ("two.pt2", r"2 inputs \(x, y\), expected one"),
        ("svd.pt2", r"cannot export it to ONNX: .*_linalg_svd"),
        ("pickled.pt", r"a pickled PyTorch module .* torch\.export\.save"),
        ("weights.pth", r"a pickled PyTorch module .* torch\.export\.save"),
        ("script.pt", r"TorchScript, .* torch\.export\.save"),
    ],
)
def test_what_cannot_be_exported_is_refused(trained: Path, name: str, why: str) -> None:
    with pytest.raises(ModelRefused, match=why):
        import_model(trained / name, True, ignore)


def test_damaged_program(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes((trained / "net.pt2").read_bytes()[:3000])
    with pytest.raises(ModelRefused, match=r"not a program of torch\.export\.save that PyTorch"):
        import_model(tmp_path / "m.pt2", True, ignore)


def test_program_is_not_read_without_trust(trained: Path) -> None:
    with pytest.raises(ConfigError, match=r"can run any program: add --trust"):
        import_model(trained / "net.pt2", False, ignore)
