"""What a token's runtime code allows, read from the code alone: no source, no node, no execution."""
