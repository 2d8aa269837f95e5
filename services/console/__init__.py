"""What operators use: the subcommands, and how mistakes are told."""
