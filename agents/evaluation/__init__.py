"""The protocol in which policies are compared, its statistics and reports."""
