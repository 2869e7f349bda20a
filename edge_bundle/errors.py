"""What can go wrong with a file, named for what the caller can do, and the exit codes."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the three commands; docs/errors.md says them to users."""

    DONE = 0
    BUG = 1
    USAGE = 2
    REFUSED = 3
    LINK = 4
    BUDGET = 5
    STOPPED = 6


class ConfigError(Exception):
    """A file or option that the user wrote is wrong: correct it and call again."""


class ArtifactRefused(Exception):
    """What a file holds cannot be used, whoever asks again."""


class BundleRefused(ArtifactRefused):
    """A bundle is damaged, unsafe to open, or contradicts itself."""


class ModelRefused(ArtifactRefused):
    """A runtime cannot load or run the model file."""


class RecordingRefused(ArtifactRefused):
    """A recording is unreadable, or does not fit the stream."""


class ChannelMissing(RecordingRefused):
    """A recording has no channel of a name that somebody asked for."""


class RuntimeMissing(ConfigError):
    """No installed runtime can run this format; the message names the extra to install."""


class BudgetMissed(Exception):
    """Nothing keeps what the user asked for; the message names the best that was found."""
