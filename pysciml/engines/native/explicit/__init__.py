"""Explicit Runge-Kutta methods: the compiled loop, its transpose, and the tableaus."""
