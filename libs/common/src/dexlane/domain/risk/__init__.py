"""Risk: evidence, five scored factors, and the assessment of an opportunity. Pure, and deterministic everywhere."""
