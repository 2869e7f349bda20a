"""What the operator's side knows, in one SQLite file: releases, histories, assignments, devices.

Only SQL is here, and no rule: what is to be written was decided elsewhere.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from edge_bundle.errors import ArtifactRefused
from edge_wire.assignment import Assignment, Encoding, Ref, Requires
from edge_wire.messages import Availability, Info, Reported
from fleet.errors import RolloutStopped
from fleet.observer import DeviceView

SCHEMA_VERSION: Final = 1
BUSY_S: Final = 15.0
"""Longer than another command may hold the registry while it waits for the broker."""
SCHEMA: Final = """
CREATE TABLE bundle(
  sha256 TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, variant TEXT NOT NULL,
  format TEXT NOT NULL, length INTEGER NOT NULL, requires TEXT NOT NULL, encoding TEXT NOT NULL,
  attempt INTEGER NOT NULL DEFAULT 1, UNIQUE(name, version, variant));
CREATE TABLE assignment(
  "group" TEXT PRIMARY KEY, json TEXT NOT NULL, issued TEXT NOT NULL, published INTEGER NOT NULL);
CREATE TABLE history(
  "group" TEXT NOT NULL REFERENCES assignment("group"), model TEXT NOT NULL, n INTEGER NOT NULL,
  ref TEXT NOT NULL, PRIMARY KEY("group", model, n));
CREATE TABLE device(
  id TEXT PRIMARY KEY, "group" TEXT, availability TEXT, info TEXT, reported TEXT);
"""
T = TypeVar("T")


class Release(Struct, frozen=True):
    """A bundle that this fleet has taken in."""

    sha256: str
    name: str
    version: str
    variant: str
    format: str
    length: int
    requires: Requires
    encoding: Encoding
    attempt: int = 1
    """The highest that was ever signed for it; devices remember failures by it."""


class Registry:
    """One open registry; used by one thread."""

    def __init__(self, file: Path) -> None:
        """Open a registry that is there.

        Raises: ArtifactRefused: not there, damaged, or of a newer version of this program.
        """
        try:
            self._db = sqlite3.connect(
                f"{file.resolve().as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None
            )
        except sqlite3.Error as error:
            raise ArtifactRefused(f"{file}: {error}") from None
        try:
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("PRAGMA synchronous = FULL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION:
                raise ArtifactRefused(
                    f"{file}: a registry of version {version}, expected {SCHEMA_VERSION}"
                )
        except sqlite3.Error as error:
            self._db.close()
            raise ArtifactRefused(f"{file}: {error}") from None
        except ArtifactRefused:
            self._db.close()
            raise

    @classmethod
    def create(cls, file: Path) -> None:
        """Make an empty registry; a file that is there is never replaced.

        Raises: FileExistsError, OSError.
        """
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        db = sqlite3.connect(file)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        finally:
            db.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the registry for writing; all of it is kept, or nothing.

        Raises: RolloutStopped: another command holds it for too long.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise RolloutStopped(f"registry: {error}: another command is at work") from None
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def changes(self) -> int:
        """Return a number that is another one after any other command's commit."""
        (number,) = self._db.execute("PRAGMA data_version").fetchone()
        return int(number)

    # --- releases

    def find_release(self, name: str, version: str, variant: str) -> Release | None:
        """Return the bundle that bears this name, version and variant."""
        row = self._db.execute(
            "SELECT sha256, length, format, requires, encoding, attempt"
            " FROM bundle WHERE (name, version, variant) = (?, ?, ?)",
            (name, version, variant),
        ).fetchone()
        if row is None:
            return None
        sha256, length, form, requires, encoding, attempt = row
        return Release(
            sha256=sha256,
            name=name,
            version=version,
            variant=variant,
            format=form,
            length=length,
            requires=_read(requires, Requires),
            encoding=_read(encoding, Encoding),
            attempt=attempt,
        )

    def save_release(self, release: Release) -> None:
        """Add a bundle, or change how it travels and its attempt."""
        self._db.execute(
            "INSERT INTO bundle(sha256, name, version, variant, format, length, requires, encoding,"
            " attempt) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(sha256) DO UPDATE SET"
            " encoding = excluded.encoding, attempt = max(attempt, excluded.attempt)",
            (
                release.sha256,
                release.name,
                release.version,
                release.variant,
                release.format,
                release.length,
                _write(release.requires),
                _write(release.encoding),
                release.attempt,
            ),
        )

    def encodings(self) -> dict[str, tuple[Encoding, ...]]:
        """Return how every bundle travels, by sha256."""
        rows = self._db.execute("SELECT sha256, encoding FROM bundle")
        return {sha256: (_read(encoding, Encoding),) for sha256, encoding in rows}

    # --- what groups run

    def models(self) -> dict[str, list[str]]:
        """Return the groups that run each model, both sorted."""
        found: dict[str, list[str]] = {}
        rows = self._db.execute(
            'SELECT DISTINCT model, "group" FROM history ORDER BY model, "group"'
        )
        for model, group in rows:
            found.setdefault(model, []).append(group)
        return found

    def stack(self, group: str, model: str) -> tuple[Ref, ...]:
        """Return what a group ran of a model, the present version last."""
        rows = self._db.execute(
            'SELECT ref FROM history WHERE ("group", model) = (?, ?) ORDER BY n', (group, model)
        )
        return tuple(_read(ref, Ref) for (ref,) in rows)

    def save_assignment(self, assignment: Assignment, model: str, stack: Iterable[Ref]) -> None:
        """Write a group's new assignment, still to be published, and one model's stack."""
        group = assignment.group
        self._db.execute(
            'INSERT INTO assignment("group", json, issued, published) VALUES (?, ?, ?, 0)'
            ' ON CONFLICT("group") DO UPDATE SET json = excluded.json, issued = excluded.issued,'
            " published = 0",
            (group, _write(assignment), assignment.issued),
        )
        self._db.execute('DELETE FROM history WHERE ("group", model) = (?, ?)', (group, model))
        self._db.executemany(
            'INSERT INTO history("group", model, n, ref) VALUES (?, ?, ?, ?)',
            [(group, model, n, _write(ref)) for n, ref in enumerate(stack)],
        )

    def assignments(self, unpublished_only: bool = False) -> list[Assignment]:
        """Return every group's present assignment."""
        where = " WHERE published = 0" if unpublished_only else ""
        rows = self._db.execute(f'SELECT json FROM assignment{where} ORDER BY "group"')  # noqa: S608
        return [_read(text, Assignment) for (text,) in rows]

    def assignment(self, group: str) -> Assignment | None:
        """Return a group's present assignment."""
        row = self._db.execute('SELECT json FROM assignment WHERE "group" = ?', (group,)).fetchone()
        return _read(row[0], Assignment) if row else None

    def mark_published(self, assignment: Assignment) -> None:
        """Note that the broker has an assignment, unless a newer one has taken its place."""
        self._db.execute(
            'UPDATE assignment SET published = 1 WHERE ("group", issued) = (?, ?)',
            (assignment.group, assignment.issued),
        )

    # --- devices

    def remember(self, views: Iterable[DeviceView]) -> None:
        """Keep what was last seen of devices."""
        self._db.executemany(
            'INSERT OR REPLACE INTO device(id, "group", availability, info, reported)'
            " VALUES (?, ?, ?, ?, ?)",
            [
                (
                    view.device,
                    view.group,
                    view.availability and view.availability.value,
                    view.info and _write(view.info),
                    view.reported and _write(view.reported),
                )
                for view in views
            ],
        )

    def devices(self) -> list[DeviceView]:
        """Return what was last seen of every device, by name."""
        rows = self._db.execute("SELECT id, availability, info, reported FROM device ORDER BY id")
        return [
            DeviceView(
                device,
                Availability(availability) if availability else None,
                _read(info, Info) if info else None,
                _read(reported, Reported) if reported else None,
            )
            for device, availability, info, reported in rows
        ]


def _write(value: Struct) -> str:
    return msgspec.json.encode(value).decode()


def _read(text: str, kind: type[T]) -> T:
    return msgspec.json.decode(text, type=kind)
