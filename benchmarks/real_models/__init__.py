"""Known models on real recordings, by the path of pack, replay and decision."""
