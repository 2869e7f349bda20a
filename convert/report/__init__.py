"""What a build found out, shown to people: one page, and the same in a terminal."""
