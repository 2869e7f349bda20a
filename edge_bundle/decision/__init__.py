"""From what a model gives to what is said of a window, and to events: pure rules, no clock."""
