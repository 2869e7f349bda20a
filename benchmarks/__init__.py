"""What is measured, against what; every script ends with one JSON line."""
