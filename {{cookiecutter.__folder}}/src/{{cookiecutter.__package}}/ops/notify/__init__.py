"""Notifications about flow runs."""
