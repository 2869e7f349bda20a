"""What all rooms' tests share: the brokers, and hypothesis that repeats itself."""

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
