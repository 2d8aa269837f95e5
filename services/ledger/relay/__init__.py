"""From the store to `ledger.events`: the same bytes, in order, without a gap."""
