"""Replays one pipeline stage of `sim export replay` on one GPU."""
