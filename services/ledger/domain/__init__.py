"""What the ledger decides. Pure: no clock, no I/O, no fresh identifiers."""
