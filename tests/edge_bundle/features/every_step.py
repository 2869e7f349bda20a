"""One of each step, with a stream that it fits, for tests of what all of them do."""

from edge_bundle.features.steps import (
    BandPower,
    Dct,
    Detrend,
    Form,
    Log,
    LogMel,
    Mel,
    Mfcc,
    MicroFrontend,
    Mix,
    Peak,
    Resample,
    Resize,
    Scale,
    Spectrogram,
    Spectrum,
    Standardise,
    Statistics,
    Step,
    Transpose,
)

IMU = Form(100, 3, 50.0)
AUDIO = Form(1600, 1, 16000.0)
IMAGE = Form(12 * 16, 3, 5.0)
"""An image for a window."""
TWO_EARS = Form(1600, 2, 16000.0)
SPECTROGRAM = Spectrogram(frame=400, step=160, fft=512)
LOG_MEL = LogMel(frame=400, step=160, fft=512, bands=20, offset=1e-6)
MFCC = Mfcc(frame=400, step=160, fft=512, bands=20, count=10, power=1, slopes="mel")
STATISTICS = Statistics(
    of=("mean", "std", "rms", "peak_to_peak", "min", "max", "median", "zero_crossings"),
    percentiles=(0.0, 12.5, 90.0, 100.0),
)

CHAINS: dict[str, tuple[Form, tuple[Step, ...]]] = {
    "standardise": (IMU, (Standardise((0.1, -0.2, 3.0), (1.0, 2.0, 0.5)),)),
    "scale": (IMU, (Scale(factor=(2.0, 3.0, 4.0), offset=-1.0),)),
    "peak": (IMU, (Peak(),)),
    "peak_value": (AUDIO, (Peak(of="value"),)),
    "detrend": (IMU, (Detrend(),)),
    "detrend_constant": (IMU, (Detrend(trend="constant"),)),
    "resample": (IMU, (Resample(to_hz=20.0),)),
    "resample_up": (IMU, (Resample(to_hz=104.0),)),
    "statistics": (IMU, (STATISTICS,)),
    "spectrum": (IMU, (Spectrum(window="hann"),)),
    "spectrum_power": (IMU, (Spectrum(of="power"),)),
    "band_power": (IMU, (BandPower(edges_hz=(0.0, 2.0, 10.0, 25.0)),)),
    "spectrogram": (AUDIO, (SPECTROGRAM,)),
    "spectrogram_of_two": (TWO_EARS, (Spectrogram(frame=400, step=160, power=1),)),
    "mel": (AUDIO, (SPECTROGRAM, Mel(bands=20))),
    "log": (AUDIO, (SPECTROGRAM, Log(offset=1e-3, base=10, factor=10.0))),
    "dct": (TWO_EARS, (SPECTROGRAM, Mel(bands=20), Dct(count=5))),
    "log_mel": (AUDIO, (LOG_MEL,)),
    "mfcc": (TWO_EARS, (MFCC,)),
    "mfcc_standardised": (AUDIO, (MFCC, Standardise((0.5,) * 10, (2.0,) * 10))),
    "scaled_log_mel_on_its_side": (AUDIO, (Scale(factor=3.0), LOG_MEL, Transpose())),
    "micro_frontend": (AUDIO, (MicroFrontend(),)),
    "micro_frontend_20": (AUDIO, (MicroFrontend(step_ms=20),)),
    "resize": (IMAGE, (Resize(12, 16, 6, 20), Transpose())),
    "resize_nearest": (IMAGE, (Resize(12, 16, 5, 4, "nearest"), Scale(factor=2.0))),
    "transpose": (IMU, (Transpose(),)),
    "mix": (IMU, (Mix(((0.0, 0.0, 1.0), (0.5, -0.5, 0.0))),)),
    "grey_frames": (TWO_EARS, (Mix(((0.5, 0.5),)), LOG_MEL)),
    "peak_before_frames": (AUDIO, (Peak(), LOG_MEL)),
}
REMEMBER = {"micro_frontend", "micro_frontend_20"}
"""Those that depend on more than the window."""
