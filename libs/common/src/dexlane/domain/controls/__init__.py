"""Controls before a trade: each a small pure function with a written reason. None ever raises a size."""
