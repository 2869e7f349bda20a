"""Which samples make which window: the same for converter and device. Pure."""


def window_starts(samples: int, window: int, hop: int) -> range:
    """Return the first position of every whole window in a contiguous run of samples."""
    return range(0, samples - window + 1, hop)
