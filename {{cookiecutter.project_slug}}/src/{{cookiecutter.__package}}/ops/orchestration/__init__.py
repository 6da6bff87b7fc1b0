"""Prefect: sessions, servers, how tasks behave, and which runs are alive."""
