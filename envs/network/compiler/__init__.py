"""Numba's internals: what compiles the day, how it gets its arrays, and named randomness."""
