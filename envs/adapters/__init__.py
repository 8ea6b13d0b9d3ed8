"""Thin views of the batch for other libraries."""
