"""What gives a stream its samples: a module for each kind, imported when one is configured."""
