"""Results as tables, figures, files and TensorBoard."""
