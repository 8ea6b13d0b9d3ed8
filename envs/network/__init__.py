"""The simulation of one network, one module a stage of the day."""
