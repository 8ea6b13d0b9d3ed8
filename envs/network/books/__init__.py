"""What the day reads and writes: tables of constants, the state, the ledger, stock, and what can go wrong."""
