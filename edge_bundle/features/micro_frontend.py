"""The audio front end of TensorFlow Lite Micro, which remembers the noise of its stream. Pure."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from edge_bundle.features.form import Form, Misfit

RATE_HZ: Final = 16000
SAMPLES_PER_MS: Final = 16
FRAME: Final = 480
"""Samples: 30 ms."""
CHANNELS: Final = 40


class MicroFrontend(Struct, frozen=True, tag_field="kind", tag="micro_frontend"):
    """Frames of 30 ms at 16 kHz, each 40 bands: noise reduced, gain controlled, logarithmic.

    Where windows follow each other without a break and the hop is a multiple of the step, noise
    and gain go on from window to window; else each window begins anew.
    """

    step_ms: Literal[10, 20] = 10
    full_scale: Annotated[float, Meta(gt=0)] = 1.0
    """What the loudest sample is in the stream's unit: 32768 where samples are whole numbers."""

    @property
    def step(self) -> int:
        """Samples from the start of one frame to the start of the next."""
        return self.step_ms * SAMPLES_PER_MS

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        form.expect_time("the audio front end", FRAME)
        if form.columns != 1:
            raise Misfit(f"one channel is expected, {form.columns} come to it")
        if form.rate_hz != RATE_HZ:
            raise Misfit(f"{RATE_HZ} Hz are expected, {form.rate_hz:g} come to it; resample before")
        frames = (form.rows - FRAME) // self.step + 1
        return Form(frames, CHANNELS, form.rate_hz / self.step, CHANNELS)
