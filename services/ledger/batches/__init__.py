"""From records to facts, and to the truth: admitted, decided on an overlay, committed, answered."""
