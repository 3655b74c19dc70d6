"""Timings side by side with the peers, and the bars they are held to."""
