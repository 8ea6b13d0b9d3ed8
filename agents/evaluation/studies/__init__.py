"""Studies beyond one comparison: stress tests, ablations, the calibration gate."""
