"""Everything of the Cascade page: data, layout, figures."""
