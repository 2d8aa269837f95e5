"""What comes from outside, made into values or refused with a code."""
