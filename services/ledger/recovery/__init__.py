"""A store and its topic compared, and what a backup lost taken back."""
