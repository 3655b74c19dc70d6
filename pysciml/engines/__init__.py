"""Engines: peers behind the protocol of `base`, looked up by name."""
