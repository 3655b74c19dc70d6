"""The embedded engine: integrators compiled once by Numba, for all models.

`engine.NativeEngine` is the door. The integrators (`explicit`, `rosenbrock`) see a model only as
the addresses of its compiled functions, so nothing is recompiled when the model changes.
"""
