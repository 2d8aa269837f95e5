"""What a grown ledger costs more than a young one."""
