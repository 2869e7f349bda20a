"""What a file is made of, and who can run it."""
