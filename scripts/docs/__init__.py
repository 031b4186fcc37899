"""What the documentation shows, made from real runs: pictures, charts, tables, and the hooks of its site."""
