"""The day: `day.py` calls the stages in order, a file a stage, under the names of README and model §3."""
