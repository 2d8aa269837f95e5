"""The published language: facts, commands, replies and how they travel. Pure: no I/O, imports nothing of ours."""
