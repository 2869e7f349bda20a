"""What follows from a manifest, beside what it says."""

import pytest

from edge_bundle.errors import BundleRefused
from tests.edge_bundle.bundles import STREAM, prepared_manifest, watch_manifest


def test_only_a_bundle_with_stream_and_decision_runs_on_live_samples() -> None:
    assert watch_manifest().expect_stream() == STREAM
    for manifest, why in (
        (prepared_manifest(), "takes prepared tensors: it has no [stream]; build it with --spec"),
        (
            watch_manifest(decision=None),
            "gives bare scores: it has no [decision]; build it with --spec",
        ),
    ):
        with pytest.raises(BundleRefused) as refused:
            manifest.expect_stream()
        assert str(refused.value) == f"{manifest.file_name} {why}"
