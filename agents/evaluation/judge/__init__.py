"""The protocol: which worlds, which policies, who is compared with whom, and the manifest."""
