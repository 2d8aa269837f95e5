"""A sample business, fed as any business would be: through the HTTP API and `ledger.commands`, nothing else."""
