"""The service: bases over HTTP."""
