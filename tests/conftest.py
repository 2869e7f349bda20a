"""What all rooms' tests share: the brokers, hypothesis that repeats itself, and Ctrl-C."""

import signal

from hypothesis import HealthCheck, settings

from tests.brokers import broker, embedded, shared_broker

__all__ = ["broker", "embedded", "shared_broker"]

settings.register_profile(
    "edgeward",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("edgeward")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what it runs in the background. The commands that tests start and interrupt
    # would inherit it, and rightly stay deaf.
    signal.signal(signal.SIGINT, signal.default_int_handler)
