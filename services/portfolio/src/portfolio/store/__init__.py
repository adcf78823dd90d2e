"""The ledger in SQL: tables, and queries on one open connection."""
