"""Routes and response schemas of the JSON API; computes nothing."""
