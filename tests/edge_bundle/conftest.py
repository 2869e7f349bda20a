"""Property tests are the same in every run, and a slow machine fails none."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "edge_bundle",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("edge_bundle")
