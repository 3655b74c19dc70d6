"""Symplectic methods for separable systems, by fixed steps."""
