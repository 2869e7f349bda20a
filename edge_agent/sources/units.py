"""Which units measure the same thing, and what one is in another. Pure: no device is here."""

from math import pi
from typing import Final

SIZES: Final[dict[str, dict[str, float]]] = {
    "acceleration": {"m/s^2": 1.0, "m/s2": 1.0, "m/s²": 1.0, "g": 9.80665},
    "angular velocity": {"rad/s": 1.0, "deg/s": pi / 180, "dps": pi / 180},
    "angle": {"rad": 1.0, "deg": pi / 180},
    "magnetic field": {"G": 1.0, "Gauss": 1.0, "uT": 0.01, "µT": 0.01, "T": 1e4},
    "temperature": {"degC": 1.0, "Cel": 1.0, "°C": 1.0, "mdegC": 1e-3},
    "voltage": {"V": 1.0, "mV": 1e-3},
    "current": {"A": 1.0, "mA": 1e-3},
    "power": {"W": 1.0, "mW": 1e-3},
    "pressure": {"Pa": 1.0, "hPa": 100.0, "kPa": 1000.0},
    "relative humidity": {"%": 1.0, "m%": 1e-3},
    "illuminance": {"lx": 1.0, "lux": 1.0},
    "distance": {"m": 1.0, "cm": 0.01, "mm": 1e-3},
    "pulse code": {"1": 1.0, "int16": 1 / 32768},
}
"""What each unit is in the first of its row. Standard gravity: CGPM 1901, 9.80665 m/s^2."""


def convert_unit(found: str, wanted: str) -> float:
    """Return what a value in unit ``found`` is multiplied by to be in unit ``wanted``.

    Raises: ValueError: they do not measure the same thing, or one is not known.
    """
    if found == wanted:
        return 1.0
    for sizes in SIZES.values():
        if found in sizes:
            if wanted in sizes:
                return sizes[found] / sizes[wanted]
            raise ValueError(f"unit {wanted!r}, expected one of {', '.join(sizes)}")
    raise ValueError(f"unit {wanted!r}, expected {found!r}")
