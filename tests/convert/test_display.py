"""Long work says on stderr what it does: a line each in a log, a live one on a terminal."""

import sys

import pytest

from convert.display import show_progress


def test_log_gets_a_line_for_what_begins_and_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress() as progress:
        progress("calibrating with 40 samples")
        progress.advance(1, 2)
        progress("judging")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "calibrating with 40 samples\njudging\n")


def test_terminal_keeps_what_began_and_nothing_goes_to_stdout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with show_progress() as progress:
        progress("calibrating with [40] samples")
        progress.advance(1, 2)
        progress("judging")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "calibrating with [40] samples" in shown.err
    assert "judging" in shown.err


def test_display_ends_where_the_work_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(KeyError), show_progress():
        raise KeyError
    shown = capsys.readouterr().err
    # The cursor that the live line hides is shown again.
    assert shown.rfind("\x1b[?25h") >= shown.rfind("\x1b[?25l")
