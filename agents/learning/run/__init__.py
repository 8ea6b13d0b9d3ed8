"""A run, whatever learns in it: settings, the loop, checkpoints, validation, logs."""
