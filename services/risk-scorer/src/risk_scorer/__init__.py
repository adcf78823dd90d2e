"""Opportunity to verdict."""
