"""The published language: facts, commands, replies and how they travel. No I/O but `generate`, no imports of ours."""
