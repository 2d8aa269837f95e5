"""One module per question asked, the tables they fill, and what is forgotten of an erased customer."""
