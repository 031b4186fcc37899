"""One file a cause; each returns findings with evidence and confidence."""
