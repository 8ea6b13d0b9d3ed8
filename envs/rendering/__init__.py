"""Pictures of the network: a page of text and a map."""
