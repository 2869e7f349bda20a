"""Runtimes behind one protocol. Importing this room loads none of them."""
