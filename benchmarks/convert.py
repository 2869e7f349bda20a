"""Real models through ``edge-convert build``, and what other tools make of them in the same run.

The result is judged here, from the bundles alone: not a figure is taken from what ``build``
printed, but its count of evaluations. Exits 1 where a bound is missed.

    python -m benchmarks.convert --data FOLDER [--model kws,resnet8] [--table]
        [--peers [--peers-python PYTHON]... [--peer-limit 600]] [--json-out FILE]

FOLDER holds the models and recordings; ``benchmarks/conversion/cases.py`` says under what names.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.conversion.cases import CASES, Case
from benchmarks.conversion.checks import check
from benchmarks.conversion.judge import File, Judge
from benchmarks.conversion.ours import Ours, convert
from benchmarks.conversion.peers import Tried, find_pythons, run_peers
from benchmarks.conversion.samples import write
from benchmarks.conversion.table import table

VARIABLE = "EDGEWARD_REALDATA"


def main() -> None:
    """Convert, judge, and print one JSON line."""
    options = parse()
    pythons = find_pythons(options.peers_python) if options.peers else {}
    checks, results = [], []
    for name in options.model:
        case = CASES[name]
        with tempfile.TemporaryDirectory() as folder:
            ours, tried = measure(case, options, pythons, Path(folder))
        checks += check(case, ours)
        results.append((case, ours, tried))
    if options.table:
        print(table(results, command()))
    line = json.dumps({"checks": checks})
    if options.json_out:
        options.json_out.write_text(line + "\n", encoding="utf-8")
    print(line)
    sys.exit(not all(c["ok"] for c in checks))


def measure(
    case: Case, options: argparse.Namespace, pythons: dict[str, tuple[str, str]], folder: Path
) -> tuple[Ours, list[Tried]]:
    """Return what ours and every peer make of one model."""
    sys.stderr.write(f"{case.name}: samples\n")
    data = case.read(options.data)
    sets = write(data, folder)
    original = File(case.source(options.data).read_bytes(), "onnx")
    judge = Judge.of(original, data.evaluation, case.metric)
    ours = convert(case, options.data, sets, judge, folder)
    if not options.peers:
        return ours, []
    tried = run_peers(
        case,
        options.data,
        sets,
        judge,
        pythons,
        limit_s=options.peer_limit,
        folder=folder,
        float_tflite=ours.float_tflite,
    )
    return ours, tried


def parse() -> argparse.Namespace:
    """Return the options; ends with a clear line where the data folder is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get(VARIABLE))
    parser.add_argument("--model", type=lambda text: text.split(","), default=list(CASES))
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--peers-python", action="append", default=[], metavar="PYTHON")
    parser.add_argument("--peer-limit", type=int, default=600, metavar="SECONDS")
    parser.add_argument("--json-out", type=Path)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.data is None:
        parser.error(f"--data FOLDER or {VARIABLE}: the folder of real models and recordings")
    options.data = options.data.resolve()
    if unknown := sorted(set(options.model) - set(CASES)):
        parser.error(f"--model {unknown[0]}: expected some of {','.join(CASES)}")
    if missing := [p for n in options.model if not (p := CASES[n].source(options.data)).is_file()]:
        parser.error(f"--data {options.data}: {missing[0]} is missing")
    return options


def command() -> str:
    """Return the command as it was given, without this machine's paths."""
    words, hidden = [], {"--data": "FOLDER", "--peers-python": "PYTHON", "--json-out": "FILE"}
    for before, word in zip(["", *sys.argv[1:]], sys.argv[1:], strict=False):
        words.append(hidden.get(before, word))
    return " ".join(["python -m benchmarks.convert", *words])


if __name__ == "__main__":
    main()
