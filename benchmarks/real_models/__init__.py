"""Models that nobody here trained, on real recordings, by the path of pack, replay and decision."""
