"""Policies and critics: networks, residuals, compiled heads, and moving a policy to another network."""
