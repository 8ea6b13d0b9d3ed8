"""What is decided upon: the simulated network and its interfaces."""
