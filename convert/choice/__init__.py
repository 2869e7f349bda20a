"""Which of the ways to make a model small is taken, and why not the others."""
