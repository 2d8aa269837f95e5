"""Schemas of the three databases, one folder each: store, views, keys. Forward only: facts are never undone."""
