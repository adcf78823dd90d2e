"""What the live page shows, kept in memory, fed by events and rebuilt from the archive at start."""
