"""Prefect: sessions, servers, task policies and run locks."""
