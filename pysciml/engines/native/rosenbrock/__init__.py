"""Rosenbrock methods: the compiled loop, its transpose, the linear algebra, and the tableaus."""
