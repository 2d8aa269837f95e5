"""The published language: facts, commands, replies and how they travel. No I/O, no imports of ours."""
