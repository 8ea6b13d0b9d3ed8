"""Why a policy costs what it costs, taken apart against a reference."""
